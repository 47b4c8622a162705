"""A small HTTPS server for the egress tests: a file, a git repository, a Python package
and a Node package, made in a directory and served on one loopback address.

usage: registry.py DIRECTORY ADDRESS   (prints the port)
"""

import base64
import functools
import hashlib
import http.server
import io
import json
import os
import ssl
import subprocess
import sys
import tarfile
import zipfile

root, address = sys.argv[1:]
web = os.path.join(root, "web")
os.makedirs(os.path.join(web, "simple/cordondemo"))
os.makedirs(os.path.join(web, "files"))


def run(*argv, cwd=None):
    subprocess.run(argv, cwd=cwd, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


with open(os.path.join(web, "hello"), "w") as f:
    f.write("hello through the proxy\n")

work = os.path.join(root, "work")
run("git", "init", "-q", work)
with open(os.path.join(work, "README"), "w") as f:
    f.write("a repository\n")
run("git", "add", ".", cwd=work)
run("git", "-c", "user.name=t", "-c", "user.email=t@t.test", "commit", "-qm", "x", cwd=work)
run("git", "clone", "-q", "--bare", work, os.path.join(web, "repo.git"))
run("git", "update-server-info", cwd=os.path.join(web, "repo.git"))

wheel = "cordondemo-1.0-py3-none-any.whl"
with zipfile.ZipFile(os.path.join(web, "files", wheel), "w") as z:
    z.writestr("cordondemo.py", "VALUE = 'from the wheel'\n")
    z.writestr("cordondemo-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: cordondemo\nVersion: 1.0\n")
    z.writestr("cordondemo-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    z.writestr("cordondemo-1.0.dist-info/RECORD", "cordondemo.py,,\n")
with open(os.path.join(web, "simple/cordondemo/index.html"), "w") as f:
    f.write(f'<!DOCTYPE html><a href="/files/{wheel}">{wheel}</a>')

buffer = io.BytesIO()
with tarfile.open(fileobj=buffer, mode="w:gz") as t:
    for name, text in [
        ("package/package.json", json.dumps({"name": "cordondemo", "version": "1.0.0", "main": "index.js"})),
        ("package/index.js", "module.exports = 'from the tarball';\n"),
    ]:
        info = tarfile.TarInfo(name)
        info.size = len(text)
        t.addfile(info, io.BytesIO(text.encode()))
tarball = buffer.getvalue()
with open(os.path.join(web, "files/cordondemo-1.0.0.tgz"), "wb") as f:
    f.write(tarball)

run(
    "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
    "-keyout", os.path.join(root, "key.pem"), "-out", os.path.join(root, "ca.pem"),
    "-subj", "/CN=cordon test", "-addext", f"subjectAltName=IP:{address},DNS:localhost",
    "-addext", "basicConstraints=critical,CA:TRUE",
)


class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        if self.path != "/cordondemo":
            return super().do_GET()
        host, port = self.server.server_address[:2]
        integrity = "sha512-" + base64.b64encode(hashlib.sha512(tarball).digest()).decode()
        body = json.dumps({
            "name": "cordondemo",
            "dist-tags": {"latest": "1.0.0"},
            "versions": {"1.0.0": {
                "name": "cordondemo",
                "version": "1.0.0",
                "dist": {"tarball": f"https://{host}:{port}/files/cordondemo-1.0.0.tgz", "integrity": integrity},
            }},
        }).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


server = http.server.ThreadingHTTPServer((address, 0), functools.partial(Handler, directory=web))
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(os.path.join(root, "ca.pem"), os.path.join(root, "key.pem"))
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
server.serve_forever()
