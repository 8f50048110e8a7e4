"""A Git client on pygit2 (libgit2): clone, shallow, fetch or list, as the end-to-end tests ask."""

import sys

import pygit2


def main(verb, url, folder):
    if verb == "clone":
        pygit2.clone_repository(url, folder, bare=True)
    elif verb == "shallow":
        pygit2.clone_repository(url, folder, bare=True, depth=2)
    elif verb == "fetch":
        pygit2.Repository(folder).remotes["origin"].fetch()
    elif verb == "list":
        repository = pygit2.init_repository(folder, bare=True)
        for head in repository.remotes.create_anonymous(url).list_heads():
            print(head.oid, head.name)
    else:
        sys.exit(f"unknown verb {verb}")


main(*sys.argv[1:])
