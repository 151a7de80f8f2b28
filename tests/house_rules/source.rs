//! One source file as the scan sees it: without comments and strings, and without its tests.

/// A file, and the views of it that rules look at. All views have the file's lines.
pub struct Source {
    /// Relative to the repository, with `/`.
    pub path: String,
    /// As it is.
    pub raw: String,
    /// Without comments.
    pub with_strings: String,
    /// Without comments, strings and character literals.
    pub code: String,
    /// As `code`, without items under `#[cfg(test)]`.
    pub shipped: String,
    /// Modules that are declared under `#[cfg(test)]` and live in a file of their own.
    pub test_modules: Vec<String>,
}

impl Source {
    /// Makes the views of `raw`.
    pub fn new(path: &str, raw: &str) -> Self {
        let (with_strings, code) = blank(raw);
        let (shipped, test_modules) = without_tests(&code);
        Source { path: path.to_owned(), raw: raw.to_owned(), with_strings, code, shipped, test_modules }
    }

    /// Makes the whole file test code.
    pub fn mark_as_test(&mut self) {
        self.shipped = spaces(&self.shipped);
    }
}

/// What the lexer is in the midst of.
#[derive(Clone, Copy)]
enum Span {
    Code,
    Comment,
    Literal,
}

/// The text with comments blanked, and with comments and literals blanked.
fn blank(raw: &str) -> (String, String) {
    let bytes = raw.as_bytes();
    let (mut with_strings, mut code) = (raw.as_bytes().to_vec(), raw.as_bytes().to_vec());
    let mut start = 0;
    while start < bytes.len() {
        let (span, end) = next_span(bytes, start);
        for index in start..end {
            if bytes[index] == b'\n' {
                continue;
            }
            if matches!(span, Span::Comment) {
                with_strings[index] = b' ';
            }
            if matches!(span, Span::Comment | Span::Literal) {
                code[index] = b' ';
            }
        }
        start = end;
    }
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (text(with_strings), text(code))
}

/// The kind of what starts at `start`, and where it ends.
fn next_span(bytes: &[u8], start: usize) -> (Span, usize) {
    let rest = &bytes[start..];
    let after_identifier = start > 0 && is_identifier(bytes[start - 1]);
    if rest.starts_with(b"//") {
        let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        return (Span::Comment, start + end);
    }
    if rest.starts_with(b"/*") {
        return (Span::Comment, start + block_comment_len(rest));
    }
    if !after_identifier && let Some(len) = raw_string_len(rest) {
        return (Span::Literal, start + len);
    }
    match rest[0] {
        b'"' => (Span::Literal, start + quoted_len(rest, b'"')),
        b'\'' => match char_literal_len(rest) {
            Some(len) => (Span::Literal, start + len),
            None => (Span::Code, start + 1),
        },
        _ => (Span::Code, start + 1),
    }
}

fn is_identifier(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Block comments nest.
fn block_comment_len(rest: &[u8]) -> usize {
    let (mut depth, mut index) = (0_usize, 0);
    while index < rest.len() {
        if rest[index..].starts_with(b"/*") {
            (depth, index) = (depth + 1, index + 2);
        } else if rest[index..].starts_with(b"*/") {
            (depth, index) = (depth - 1, index + 2);
            if depth == 0 {
                return index;
            }
        } else {
            index += 1;
        }
    }
    rest.len()
}

/// The length of `r"…"`, `r#"…"#`, `br"…"` and the like, if one starts here; `r#name` is none.
fn raw_string_len(rest: &[u8]) -> Option<usize> {
    let prefix = [&b"r"[..], b"br", b"cr"].into_iter().find(|prefix| rest.starts_with(prefix))?.len();
    let hashes = rest[prefix..].iter().take_while(|byte| **byte == b'#').count();
    let open = prefix + hashes;
    if rest.get(open) != Some(&b'"') {
        return None;
    }
    let close = [&b"\""[..], &vec![b'#'; hashes]].concat();
    let body = &rest[open + 1..];
    let end = body.windows(close.len()).position(|window| window == close);
    Some(end.map_or(rest.len(), |end| open + 1 + end + close.len()))
}

/// The length of a literal between `quote`s, with escapes.
fn quoted_len(rest: &[u8], quote: u8) -> usize {
    let mut index = 1;
    while index < rest.len() {
        match rest[index] {
            b'\\' => index += 2,
            byte if byte == quote => return index + 1,
            _ => index += 1,
        }
    }
    rest.len()
}

/// The length of a character literal; none if a lifetime starts here.
fn char_literal_len(rest: &[u8]) -> Option<usize> {
    if rest.get(1) == Some(&b'\\') {
        return Some(quoted_len(rest, b'\''));
    }
    let first = std::str::from_utf8(&rest[1..rest.len().min(5)]);
    let valid = match first {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&rest[1..=error.valid_up_to()]).unwrap_or_default(),
    };
    let len = valid.chars().next()?.len_utf8();
    (rest.get(1 + len) == Some(&b'\'')).then_some(len + 2)
}

/// Blanks everything but the ends of lines.
fn spaces(text: &str) -> String {
    text.chars().map(|character| if character == '\n' { '\n' } else { ' ' }).collect()
}

/// The code without items under `#[cfg(test)]`, and the modules among them that have a file.
fn without_tests(code: &str) -> (String, Vec<String>) {
    let (mut shipped, mut modules, mut from) = (code.to_owned(), Vec::new(), 0);
    while let Some(found) = shipped[from..].find("#[cfg(").or_else(|| shipped[from..].find("#![cfg(")) {
        let start = from + found;
        let attribute_end = start + attribute_len(&shipped[start..]);
        let attribute = &shipped[start..attribute_end];
        from = attribute_end;
        if !is_test_only(attribute) {
            continue;
        }
        let end = if attribute.starts_with("#!") { shipped.len() } else { item_end(&shipped, attribute_end) };
        let item = shipped[attribute_end..end].trim();
        if let Some(name) = item.strip_suffix(';').and_then(|item| item.split("mod ").nth(1)) {
            modules.push(name.trim().to_owned());
        }
        shipped.replace_range(start..end, &spaces(&code[start..end]));
        from = end;
    }
    (shipped, modules)
}

/// `cfg(test)`, `cfg(all(test, …))`, but not `cfg(not(test))` nor `cfg(any(test, …))`.
fn is_test_only(attribute: &str) -> bool {
    let dense: String = attribute.chars().filter(|character| !character.is_whitespace()).collect();
    dense.contains("[cfg(test)]")
        || (dense.contains("[cfg(all(") && dense.contains("test") && !dense.contains("not(test"))
}

fn attribute_len(text: &str) -> usize {
    let mut depth = 0_usize;
    for (index, character) in text.char_indices() {
        match character {
            '[' => depth += 1,
            ']' if depth == 1 => return index + 1,
            ']' => depth -= 1,
            _ => {}
        }
    }
    text.len()
}

/// Where the item that follows an attribute ends: at its `;`, or at the brace that closes it.
fn item_end(code: &str, from: usize) -> usize {
    let (mut nested, mut braces) = (0_usize, 0_usize);
    for (index, character) in code[from..].char_indices() {
        match character {
            '(' | '[' => nested += 1,
            ')' | ']' => nested = nested.saturating_sub(1),
            '{' => braces += 1,
            '}' if braces <= 1 => return from + index + 1,
            '}' => braces -= 1,
            ';' if nested == 0 && braces == 0 => return from + index + 1,
            _ => {}
        }
    }
    code.len()
}
