//! A server that renews the logins of one person: each refresh token is good once, as with
//! the vendors' own, and the access tokens say when they end. Devices may log in there.

use serde_json::{Value, json};
use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// What a refresh token is to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Rotates,
    Revoked,
    Broken,
}

#[derive(Debug)]
struct State {
    mood: Mood,
    life: Duration,
    generation: u64,
    renewed: usize,
    refused: usize,
    /// Whether answers to renewals are held back.
    held: bool,
    /// Whether the person has entered the code.
    entered: bool,
    logged_in: usize,
}

/// What a device shows to the person.
const CODE: &str = "CODE-12345";

/// What it gives to a device that logs in as with GitHub.
pub const GITHUB_TOKEN: &str = "gho_0123456789abcdefghijABCDEFGHIJ012345";

/// The server; it ends with the test's process.
#[derive(Clone, Debug)]
pub struct TokenServer {
    port: u16,
    state: Arc<Mutex<State>>,
    /// Comes when answers are held back no more.
    let_go: Arc<Condvar>,
}

impl TokenServer {
    /// Its access tokens live so long.
    ///
    /// # Panics
    /// When it cannot listen.
    #[must_use]
    pub fn start(life: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let port = listener.local_addr().expect("an address").port();
        let state = State {
            mood: Mood::Rotates,
            life,
            generation: 0,
            renewed: 0,
            refused: 0,
            held: false,
            entered: false,
            logged_in: 0,
        };
        let server = Self { port, state: Arc::new(Mutex::new(state)), let_go: Arc::default() };
        let serving = server.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = serving.clone();
                std::thread::spawn(move || server.serve(stream));
            }
        });
        server
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For `CODEX_REFRESH_TOKEN_URL_OVERRIDE`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/oauth/token", self.port)
    }

    /// For `COPILOT_GH_HOST`.
    #[must_use]
    pub fn github(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// How often it gave out new tokens.
    #[must_use]
    pub fn renewed(&self) -> usize {
        self.state().renewed
    }

    /// How often a refresh token came that is not good any more.
    #[must_use]
    pub fn refused(&self) -> usize {
        self.state().refused
    }

    /// The person enters the code that a device shows.
    ///
    /// # Panics
    /// When it is not the one that was given out.
    pub fn enter(&self, code: &str) {
        assert_eq!(code, CODE, "the code that was shown");
        self.state().entered = true;
    }

    /// How many devices have logged in.
    #[must_use]
    pub fn logged_in(&self) -> usize {
        self.state().logged_in
    }

    /// From now on no refresh token is good.
    pub fn revoke(&self) {
        self.state().mood = Mood::Revoked;
    }

    /// From now on it answers 500, or works again.
    pub fn set_broken(&self, broken: bool) {
        self.state().mood = if broken { Mood::Broken } else { Mood::Rotates };
    }

    /// From now on it renews and does not say so, until it is let go.
    pub fn hold(&self) {
        self.state().held = true;
    }

    /// What was held back is said.
    pub fn let_go(&self) {
        self.state().held = false;
        self.let_go.notify_all();
    }

    /// The refresh token that is good now.
    #[must_use]
    pub fn refresh_token(&self) -> String {
        refresh_token(self.state().generation)
    }

    /// A `auth.json` of Codex with the refresh token that is good now.
    #[must_use]
    pub fn codex_login(&self, left: i64) -> String {
        let generation = self.state().generation;
        let token = access_token(generation, left);
        json!({
            "auth_mode": "chatgpt",
            "OPENAI_API_KEY": null,
            "tokens": {
                "id_token": token, "access_token": token,
                "refresh_token": refresh_token(generation), "account_id": "acc-1",
            },
            "last_refresh": "2026-11-01T00:00:00Z",
        })
        .to_string()
    }

    fn serve(&self, mut stream: TcpStream) {
        let Some((path, text)) = request(&mut stream) else { return };
        let body: Value = serde_json::from_str(&text).unwrap_or_default();
        let (status, answer) = match path.as_str() {
            "/api/accounts/deviceauth/usercode" => {
                (200, json!({ "device_auth_id": "device-1", "user_code": CODE, "interval": "1" }))
            }
            "/api/accounts/deviceauth/token" => self.device(&body),
            "/login/device/code" => (200, self.github_device()),
            "/login/oauth/access_token" => (200, self.github_token(&text)),
            "/copilot_internal/user" => (200, json!({ "login": "person", "id": 1 })),
            path if path.starts_with("/copilot_internal/") => (200, json!({})),
            _ if text.contains("authorization_code") => self.log_in(&text),
            _ => self.answer(body["refresh_token"].as_str().unwrap_or_default()),
        };
        let answer = answer.to_string();
        let _ = write!(
            stream,
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{answer}",
            answer.len()
        );
    }

    fn github_device(&self) -> Value {
        json!({
            "device_code": "device-1", "user_code": CODE, "expires_in": 900, "interval": 1,
            "verification_uri": format!("{}/login/device", self.github()),
        })
    }

    /// GitHub answers 200 whatever it says.
    fn github_token(&self, form: &str) -> Value {
        let mut state = self.state();
        if !form.contains("device_code=device-1") {
            return json!({ "error": "incorrect_device_code" });
        }
        if !state.entered {
            return json!({ "error": "authorization_pending" });
        }
        state.logged_in += 1;
        json!({ "access_token": GITHUB_TOKEN, "token_type": "bearer", "scope": "read:user" })
    }

    fn device(&self, body: &Value) -> (u16, Value) {
        if body["device_auth_id"] != "device-1" || body["user_code"] != CODE || !self.state().entered {
            return (403, json!({ "error": "authorization_pending" }));
        }
        let answer = json!({
            "authorization_code": "code-of-the-device", "code_challenge": "c", "code_verifier": "v",
        });
        (200, answer)
    }

    fn log_in(&self, form: &str) -> (u16, Value) {
        let mut state = self.state();
        if !form.contains("code=code-of-the-device") {
            return (400, json!({ "error": "invalid_grant" }));
        }
        state.logged_in += 1;
        let left = i64::try_from(state.life.as_secs()).unwrap_or(i64::MAX);
        let token = access_token(state.generation, left);
        let refresh = refresh_token(state.generation);
        (200, json!({ "access_token": token, "id_token": token, "refresh_token": refresh }))
    }

    fn answer(&self, given: &str) -> (u16, Value) {
        let mut state = self.state();
        if state.mood == Mood::Broken {
            return (500, json!({ "error": "broken" }));
        }
        if state.mood == Mood::Revoked || given != refresh_token(state.generation) {
            state.refused += 1;
            let message = "Your refresh token has already been used to generate a new access token.";
            return (401, json!({ "error": { "message": message, "code": "refresh_token_reused" } }));
        }
        state.generation += 1;
        state.renewed += 1;
        let left = i64::try_from(state.life.as_secs()).unwrap_or(i64::MAX);
        let token = access_token(state.generation, left);
        let refresh = refresh_token(state.generation);
        let waited = self.let_go.wait_while(state, |state| state.held);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
        (200, json!({ "access_token": token, "id_token": token, "refresh_token": refresh }))
    }
}

fn refresh_token(generation: u64) -> String {
    format!("refresh-token-number-{generation}-of-the-person")
}

fn access_token(generation: u64, left: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs().cast_signed());
    let claims = json!({
        "exp": now + left, "iat": now, "sub": "somebody", "email": "a@b.c", "generation": generation,
        "https://api.openai.com/auth": {
            "chatgpt_plan_type": "plus", "chatgpt_user_id": "u1", "chatgpt_account_id": "acc-1",
        },
    });
    let part = |value: Value| encode(value.to_string().as_bytes());
    format!("{}.{}.c2lnbmF0dXJl", part(json!({ "alg": "RS256" })), part(claims))
}

/// Base64 for URLs, without padding.
fn encode(data: &[u8]) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut out = String::new();
    for piece in data.chunks(3) {
        let bits =
            piece.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - piece.len()));
        for n in 0..=piece.len() {
            out.push(char::from(LETTERS[(bits >> (18 - 6 * n) & 63) as usize]));
        }
    }
    out
}

/// The path and the body.
fn request(stream: &mut TcpStream) -> Option<(String, String)> {
    let mut data = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&data).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|l| {
                let (name, value) = l.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
            });
            if body.len() >= length.unwrap_or(0) {
                return Some((head.split(' ').nth(1)?.to_owned(), body.to_owned()));
            }
        }
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => return None,
            Ok(n) => data.extend_from_slice(&piece[..n]),
        }
    }
}
