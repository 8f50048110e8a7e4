// A Git client on isomorphic-git: clone, shallow, fetch or list, as the end-to-end tests ask.

const fs = require("fs");
const git = require("isomorphic-git");
const http = require("isomorphic-git/http/node");

async function main(verb, url, gitdir) {
  const place = { fs, http, dir: gitdir, gitdir, url };
  if (verb === "clone" || verb === "shallow") {
    fs.mkdirSync(gitdir, { recursive: true });
    await git.clone({ ...place, noCheckout: true, depth: verb === "shallow" ? 2 : undefined });
  } else if (verb === "fetch") {
    await git.fetch({ ...place, remote: "origin", tags: true, prune: true });
  } else if (verb === "list") {
    for (const protocolVersion of [1, 2]) {
      for (const { ref, oid } of await git.listServerRefs({ http, url, protocolVersion, symrefs: true, peelTags: true })) {
        console.log(protocolVersion, oid, ref);
      }
    }
  } else {
    throw new Error(`unknown verb ${verb}`);
  }
}

main(...process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exit(1);
});
