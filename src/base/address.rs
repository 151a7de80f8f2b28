//! Where a node listens or connects: a host and a port.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A host name or address literal, and a port. Resolving the name is the network's business.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// A host name, an IPv4 literal, or an IPv6 literal without brackets.
    pub host: Arc<str>,
    /// A TCP port; 0 lets a listener choose a free one.
    pub port: u16,
}

impl Address {
    /// The address `host:port`.
    pub fn new(host: impl Into<Arc<str>>, port: u16) -> Self {
        Address { host: host.into(), port }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Why a text is not an [`Address`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not an address: expected HOST:PORT with a port between 0 and 65535, such as localhost:9092")]
pub struct BadAddress {
    /// What was given.
    pub text: String,
}

impl FromStr for Address {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        let bad = || BadAddress { text: text.to_owned() };
        let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
        let port = port.parse().map_err(|_| bad())?;
        let host = match host.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']').ok_or_else(bad)?,
            None if host.contains(':') => return Err(bad()),
            None => host,
        };
        if host.is_empty() || host.contains(char::is_whitespace) {
            return Err(bad());
        }
        Ok(Address::new(host, port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_prints_as_it_is_read() {
        for text in ["localhost:9092", "10.0.0.1:0", "[::1]:2181"] {
            assert_eq!(text.parse::<Address>().map(|address| address.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn a_bad_address_is_named_with_its_remedy() {
        for text in ["", "localhost", ":9092", "a:b", "::1:2181", "a:70000", "[::1:2", "a b:1"] {
            let error = text.parse::<Address>().expect_err(text).to_string();
            assert!(error.contains(text) && error.contains("HOST:PORT"), "{error}");
        }
    }
}
