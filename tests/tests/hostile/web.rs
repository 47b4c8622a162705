//! A small MCP server over HTTP.

use serde_json::{Value, json};
use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
};

/// Speaks streamable HTTP with JSON answers; ends with the process.
pub(crate) fn http_server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream));
        }
    });
    port
}

fn tool(name: &str) -> Value {
    json!({"name": name, "description": format!("DESCRIBED-{name}"), "inputSchema": {"type": "object"}})
}

fn answer(stream: TcpStream) {
    let mut write = stream.try_clone().unwrap();
    let mut read = BufReader::new(stream);
    loop {
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if read.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            head.push_str(&line);
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        if read.read_exact(&mut body).is_err() {
            return;
        }
        let request: Value = serde_json::from_slice(&body).unwrap_or_default();
        let result = match request["method"].as_str() {
            Some("initialize") => json!({"protocolVersion": "2025-06-18", "capabilities": {"tools": {}},
                "serverInfo": {"name": "web", "version": "1"}}),
            Some("tools/list") => json!({"tools": [tool("ask"), tool("secret"), tool("other")]}),
            Some("tools/call") => {
                let key = head.lines().any(|l| l.eq_ignore_ascii_case("x-api-key: web-key-5b1f"));
                json!({"content": [{"type": "text", "text": format!("key {key}")}]})
            }
            _ => Value::Null,
        };
        let answer = match (head.starts_with("POST"), result) {
            (false, _) => "HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n".to_owned(),
            (_, Value::Null) => "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n".to_owned(),
            (_, result) => {
                let body = json!({"jsonrpc": "2.0", "id": request["id"], "result": result}).to_string();
                format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                )
            }
        };
        if write.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}
