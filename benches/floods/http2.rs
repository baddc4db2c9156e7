//! HTTP/2 frames of an attacker, written by hand, because a library would not send these (RFC 9113, RFC 7541).

/// The connection preface, and settings with a window of 0 for each stream.
pub fn preface(initial_window: u32) -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let mut setting = 4_u16.to_be_bytes().to_vec(); // SETTINGS_INITIAL_WINDOW_SIZE
    setting.extend(initial_window.to_be_bytes());
    frame(&mut bytes, 4, 0, 0, &setting);
    frame(&mut bytes, 4, 1, 0, &[]); // acknowledges the server's settings
    bytes
}

/// A request without a body.
pub fn get(stream: u32, authority: &str, path: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    // END_STREAM and END_HEADERS
    frame(
        &mut bytes,
        1,
        0x5,
        stream,
        &head(0x82, authority, path, &[]),
    );
    bytes
}

/// The head of a request whose body is never sent.
pub fn silent_post(stream: u32, authority: &str, path: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let form = [("content-type", "application/x-www-form-urlencoded")];
    // END_HEADERS only
    frame(
        &mut bytes,
        1,
        0x4,
        stream,
        &head(0x83, authority, path, &form),
    );
    bytes
}

/// A request with a form.
pub fn post(stream: u32, authority: &str, path: &str, form: &[u8]) -> Vec<u8> {
    let mut bytes = silent_post(stream, authority, path);
    // DATA with END_STREAM
    frame(&mut bytes, 0, 0x1, stream, form);
    bytes
}

/// Opens the window of the connection.
pub fn large_window() -> Vec<u8> {
    let mut bytes = Vec::new();
    frame(&mut bytes, 8, 0, 0, &(1_u32 << 30).to_be_bytes());
    bytes
}

fn head(method: u8, authority: &str, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    // The method, and `:scheme: http`, from the static table; then literals that are not indexed.
    let mut block = vec![method, 0x86];
    block.push(0x04);
    text(&mut block, path);
    block.push(0x01);
    text(&mut block, authority);
    for (name, value) in more {
        block.push(0x00);
        text(&mut block, name);
        text(&mut block, value);
    }
    block
}

/// A string literal. Literals longer than 126 bytes need more than one length byte and are not supported.
fn text(block: &mut Vec<u8>, value: &str) {
    let length = u8::try_from(value.len()).expect("a short text");
    assert!(length < 127, "a short text");
    block.push(length);
    block.extend(value.as_bytes());
}

fn frame(bytes: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("a short frame");
    bytes.extend(&length.to_be_bytes()[1..]);
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
}
