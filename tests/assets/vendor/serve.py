"""A vendor's servers, under their own names: tokens that are good once, and a model that says one
word. What it saw is written to `seen`, a line each."""
import http.server
import json
import ssl
import sys

ADDRESS, DIRECTORY = sys.argv[1], sys.argv[2]
WORDS = [
    ("message_start", {"message": {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [],
                                   "stop_reason": None, "usage": {"input_tokens": 1, "output_tokens": 1}}}),
    ("content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}}),
    ("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": "done"}}),
    ("content_block_stop", {"index": 0}),
    ("message_delta", {"delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {"output_tokens": 1}}),
    ("message_stop", {}),
]
generation = 0


def seen(line):
    with open(DIRECTORY + "/seen", "a") as log:
        log.write(line + "\n")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        global generation
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length)
        path = self.path.split("?")[0]
        status, kind, out = 200, "application/json", b"{}"
        if path == "/v1/oauth/token":
            if json.loads(body).get("refresh_token") == f"refresh-token-{generation}":
                generation += 1
                seen("renewed")
                out = json.dumps({"access_token": f"access-token-{generation}", "expires_in": 28800,
                                  "refresh_token": f"refresh-token-{generation}", "token_type": "Bearer",
                                  "scope": "user:inference user:profile"}).encode()
            else:
                seen("refused")
                status, out = 400, b'{"error":"invalid_grant"}'
        elif path == "/token":
            known = b"code=the-code-of-the-page" in body
            seen("logged in" if known else "refused")
            status = 200 if known else 400
            out = json.dumps({"access_token": "access-token-0", "refresh_token": "refresh-token-0", "expires_in": 3599,
                              "token_type": "Bearer"} if known else {"error": "invalid_grant"}).encode()
        elif path == "/v1/messages":
            seen("asked with " + (self.headers.get("authorization") or "nothing"))
            kind = "text/event-stream"
            out = "".join(f"event: {n}\ndata: {json.dumps({'type': n, **d})}\n\n" for n, d in WORDS).encode()
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(out)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(out)

    do_GET = do_POST = do_HEAD = answer

    def log_message(self, *words):
        pass


server = http.server.ThreadingHTTPServer((ADDRESS, 443), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(DIRECTORY + "/server.pem", DIRECTORY + "/server.key")
server.socket = context.wrap_socket(server.socket, server_side=True)
seen("ready")
server.serve_forever()
