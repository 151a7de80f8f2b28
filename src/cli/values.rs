//! How values of settings are read. An error says what was expected.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use crate::base::address::Address;

/// A whole number of type `T` that is at least `least`.
pub(super) fn at_least<T: FromStr + PartialOrd + Display>(least: T) -> impl FnOnce(&str) -> Result<T, String> {
    move |text| match text.parse::<T>() {
        Ok(number) if number >= least => Ok(number),
        _ => Err(format!("expected a whole number from {least} on")),
    }
}

/// A span in milliseconds, at least one.
pub(super) fn millis(text: &str) -> Result<Duration, String> {
    at_least(1_u32)(text)
        .map(|ms| Duration::from_millis(ms.into()))
        .map_err(|_| "expected milliseconds, 1 or more".to_owned())
}

/// `true` or `false`.
pub(super) fn boolean(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| "expected true or false".to_owned())
}

/// `HOST:PORT`.
pub(super) fn address(text: &str) -> Result<Address, String> {
    text.parse::<Address>().map_err(|error| error.to_string())
}

/// `HOST:PORT[,HOST:PORT…]`.
pub(super) fn addresses(text: &str) -> Result<Vec<Address>, String> {
    text.split(',').map(|one| address(one.trim())).collect()
}

/// Anything but nothing.
pub(super) fn text(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("expected a value".to_owned()) } else { Ok(text.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_out_of_range_are_refused() {
        assert_eq!(at_least(1_u16)("0"), Err("expected a whole number from 1 on".to_owned()));
        assert_eq!(at_least(0_i32)("7"), Ok(7));
        assert!(at_least(0_u16)("70000").is_err() && millis("0").is_err() && millis("-1").is_err());
        assert!(boolean("yes").is_err() && text("").is_err());
    }

    #[test]
    fn a_list_of_addresses_is_read_whole_or_not_at_all() {
        let expected = [Address::new("a", 1), Address::new("::1", 2)];
        assert_eq!(addresses("a:1, [::1]:2").as_deref(), Ok(&expected[..]));
        assert!(addresses("a:1,").is_err() && addresses("").is_err());
    }
}
