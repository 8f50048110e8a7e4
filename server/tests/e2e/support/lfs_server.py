#!/usr/bin/env python3
"""A small Git LFS server, run by Apache as a CGI program: batch, basic transfer, locks (git-lfs docs/api).

Debian has none. Users are Apache's (REMOTE_USER); objects and locks lie in LFS_STORE, one folder for each repository.
"""

import hashlib
import json
import os
import re
import sys
from urllib.parse import parse_qs

JSON = "application/vnd.git-lfs+json"
STATUS = {200: "OK", 201: "Created", 404: "Not Found", 409: "Conflict", 422: "Unprocessable Entity"}


def answer(status, body, media_type=JSON):
    if media_type == JSON:
        body = json.dumps(body).encode()
    head = f"Status: {status} {STATUS[status]}\r\nContent-Type: {media_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    sys.stdout.buffer.write(head.encode() + body)
    sys.exit()


def lock(locks, path):
    return next((lock for lock in locks if lock["path"] == path), None)


method = os.environ["REQUEST_METHOD"]
repository, rest = re.fullmatch("(/.+?)/info/lfs(/[^?]*)(?:[?].*)?", os.environ["REQUEST_URI"]).groups()
query = {key: values[0] for key, values in parse_qs(os.environ["QUERY_STRING"]).items()}
body = sys.stdin.buffer.read(int(os.environ.get("CONTENT_LENGTH") or 0))
if os.environ.get("HTTP_TRANSFER_ENCODING") == "chunked":
    body = sys.stdin.buffer.read()
base = f"{os.environ['REQUEST_SCHEME']}://{os.environ['HTTP_HOST']}{repository}/info/lfs"
store = os.path.join(os.environ["LFS_STORE"], hashlib.sha256(repository.encode()).hexdigest())
os.makedirs(store, exist_ok=True)
locks_file = os.path.join(store, "locks")
locks = json.load(open(locks_file)) if os.path.exists(locks_file) else []

if method == "POST" and rest == "/objects/batch":
    request = json.loads(body)
    objects = []
    for wanted in request["objects"]:
        oid, here = wanted["oid"], os.path.exists(os.path.join(store, wanted["oid"]))
        given = {"oid": oid, "size": wanted["size"]}
        if request["operation"] == "download" and not here:
            given["error"] = {"code": 404, "message": "no such object"}
        elif request["operation"] == "download" or not here:
            given["actions"] = {request["operation"]: {"href": f"{base}/storage/{oid}"}}
        objects.append(given)
    answer(200, {"transfer": "basic", "objects": objects})

if match := re.fullmatch("/storage/([0-9a-f]{64})", rest):
    path = os.path.join(store, match[1])
    if method == "PUT":
        if hashlib.sha256(body).hexdigest() != match[1]:
            answer(422, {"message": "not what its id says"})
        with open(path, "wb") as file:
            file.write(body)
        answer(200, {})
    if os.path.exists(path):
        answer(200, open(path, "rb").read(), "application/octet-stream")

if rest == "/locks" and method == "GET":
    wanted = query.get("path")
    answer(200, {"locks": [lock for lock in locks if wanted in (None, lock["path"])]})

if rest == "/locks" and method == "POST":
    path = json.loads(body)["path"]
    if held := lock(locks, path):
        answer(409, {"lock": held, "message": "locked already"})
    made = {"id": str(len(locks)), "path": path, "locked_at": "2024-01-01T00:00:00Z"}
    locks.append(made | {"owner": {"name": os.environ["REMOTE_USER"]}})
    json.dump(locks, open(locks_file, "w"))
    answer(201, {"lock": locks[-1]})

if rest == "/locks/verify" and method == "POST":
    ours = [lock for lock in locks if lock["owner"]["name"] == os.environ["REMOTE_USER"]]
    answer(200, {"ours": ours, "theirs": [lock for lock in locks if lock not in ours]})

answer(404, {"message": f"nothing here: {method} {rest}"})
