"""A Git client on dulwich: clone, shallow, fetch or list, as the end-to-end tests ask."""

import sys

from dulwich import porcelain


def main(verb, url, folder):
    quiet = open("/dev/null", "wb")
    if verb == "clone":
        porcelain.clone(url, folder, bare=True, errstream=quiet)
    elif verb == "shallow":
        porcelain.clone(url, folder, bare=True, depth=2, errstream=quiet)
    elif verb == "fetch":
        # By the name of the remote: only then does dulwich move references.
        porcelain.fetch(folder, "origin", errstream=quiet)
    elif verb == "list":
        for name, oid in sorted(porcelain.ls_remote(url).refs.items()):
            print(oid.decode(), name.decode())
    else:
        sys.exit(f"unknown verb {verb}")


main(*sys.argv[1:])
