//! Access control: which lists are well-formed, and what a list permits to whom.
//!
//! Who a client *is* was decided where it connected: the ids come with each entry, so that every
//! server reaches the same verdict. Schemes: `world`, `auth` (stands for the creator's ids),
//! `digest`, `ip`; an id of scheme `super` may do everything.

// Only the address *type* is wanted here; no socket comes with it.
use core::net::IpAddr;

use crate::base::znode::{Acl, AuthId, ErrorCode, Permissions};

/// The list that is stored for the list that a client gave: without duplicates, with `auth`
/// replaced by the client's own ids. An empty list, or one with an unknown scheme or a malformed
/// id, is refused.
pub fn resolve(given: &[Acl], ids: &[AuthId]) -> Result<Vec<Acl>, ErrorCode> {
    let mut resolved: Vec<Acl> = Vec::new();
    let mut add = |acl: Acl| {
        if !resolved.contains(&acl) {
            resolved.push(acl);
        }
    };
    for acl in given {
        match &*acl.id.scheme {
            "auth" => {
                let own: Vec<_> = ids.iter().filter(|id| is_authenticated(id)).collect();
                if own.is_empty() {
                    return Err(ErrorCode::InvalidAcl);
                }
                own.into_iter().for_each(|id| add(Acl { permissions: acl.permissions, id: id.clone() }));
            }
            _ if is_well_formed(&acl.id) => add(acl.clone()),
            _ => return Err(ErrorCode::InvalidAcl),
        }
    }
    if resolved.is_empty() { Err(ErrorCode::InvalidAcl) } else { Ok(resolved) }
}

/// An address says where a client is, not who.
fn is_authenticated(id: &AuthId) -> bool {
    !matches!(&*id.scheme, "ip" | "world")
}

fn is_well_formed(id: &AuthId) -> bool {
    match &*id.scheme {
        "world" => &*id.id == "anyone",
        "digest" => matches!(id.id.split_once(':'), Some((user, hash)) if !user.is_empty() && is_hash(hash)),
        "ip" => network(&id.id).is_some(),
        _ => false,
    }
}

fn is_hash(hash: &str) -> bool {
    !hash.is_empty() && !hash.contains(':')
}

/// Whether `list` permits one of `wanted` to a client with these `ids`.
pub fn check(list: &[Acl], wanted: Permissions, ids: &[AuthId]) -> Result<(), ErrorCode> {
    let is_super = || ids.iter().any(|id| &*id.scheme == "super");
    let granted = || list.iter().filter(|acl| acl.permissions.allows(wanted)).any(|acl| includes(&acl.id, ids));
    if granted() || is_super() { Ok(()) } else { Err(ErrorCode::NoAuth) }
}

/// `acl` as one may see it who may not change it: without the hash of a password.
#[must_use]
pub fn blanked(acl: &Acl) -> Acl {
    match acl.id.id.split_once(':') {
        Some((user, _)) if &*acl.id.scheme == "digest" => {
            Acl { permissions: acl.permissions, id: AuthId::new("digest", format!("{user}:x")) }
        }
        _ => acl.clone(),
    }
}

fn includes(granted: &AuthId, ids: &[AuthId]) -> bool {
    match &*granted.scheme {
        "world" => &*granted.id == "anyone",
        "ip" => ids.iter().any(|id| id.scheme == granted.scheme && is_within(&id.id, &granted.id)),
        _ => ids.contains(granted),
    }
}

/// An address and how many of its leading bits count.
fn network(text: &str) -> Option<(IpAddr, u32)> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits.parse().ok()?)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let width = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.unwrap_or(width);
    (bits <= width).then_some((address, bits))
}

fn is_within(address: &str, granted: &str) -> bool {
    let (Ok(address), Some((network, bits))) = (address.parse(), network(granted)) else { return false };
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => (address.to_bits() ^ network.to_bits()).leading_zeros() >= bits,
        (IpAddr::V6(address), IpAddr::V6(network)) => (address.to_bits() ^ network.to_bits()).leading_zeros() >= bits,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acl(scheme: &str, id: &str) -> Acl {
        Acl { permissions: Permissions::READ, id: AuthId::new(scheme, id) }
    }

    #[test]
    fn empty_and_malformed_lists_are_invalid() {
        let bad =
            [acl("world", "me"), acl("digest", "nohash"), acl("ip", "10.0.0.0/33"), acl("no", "x"), acl("auth", "")];
        for bad in bad {
            assert_eq!(resolve(&[Acl::world(Permissions::ALL), bad], &[]), Err(ErrorCode::InvalidAcl));
        }
        assert_eq!(resolve(&[], &[]), Err(ErrorCode::InvalidAcl));
    }

    #[test]
    fn auth_stands_for_the_creators_own_ids_and_duplicates_go() {
        let me = AuthId::new("digest", "me:hash");
        let ids = [AuthId::new("ip", "10.0.0.1"), me.clone()];
        let given = [acl("auth", ""), acl("digest", "me:hash"), acl("auth", "")];
        assert_eq!(resolve(&given, &ids), Ok(vec![Acl { permissions: Permissions::READ, id: me }]));
    }

    #[test]
    fn a_permission_needs_a_matching_id() {
        let me = [AuthId::new("digest", "me:hash")];
        assert_eq!(check(&[acl("digest", "me:hash")], Permissions::READ, &me), Ok(()));
        assert_eq!(check(&[acl("digest", "me:hash")], Permissions::WRITE, &me), Err(ErrorCode::NoAuth));
        assert_eq!(check(&[acl("digest", "me:hash")], Permissions::READ, &[]), Err(ErrorCode::NoAuth));
        assert_eq!(check(&[], Permissions::READ, &[AuthId::new("super", "")]), Ok(()));
        assert_eq!(check(&[Acl::world(Permissions::ALL)], Permissions::ADMIN, &[]), Ok(()));
    }

    #[test]
    fn an_address_matches_the_networks_that_hold_it() {
        let at = [AuthId::new("ip", "10.1.2.3")];
        for (network, matches) in
            [("10.1.2.3", true), ("10.1.0.0/16", true), ("10.2.0.0/16", false), ("0.0.0.0/0", true)]
        {
            assert_eq!(check(&[acl("ip", network)], Permissions::READ, &at).is_ok(), matches, "{network}");
        }
        let named_so = [AuthId::new("digest", "10.1.2.3")];
        assert_eq!(check(&[acl("ip", "10.1.2.3")], Permissions::READ, &named_so), Err(ErrorCode::NoAuth));
    }

    #[test]
    fn an_address_of_the_other_family_is_in_no_network() {
        for (address, network, matches) in [
            ("::1", "::/0", true),
            ("10.1.2.3", "::/0", false),
            ("::1", "0.0.0.0/0", false),
            ("nowhere", "::/0", false),
        ] {
            let granted = check(&[acl("ip", network)], Permissions::READ, &[AuthId::new("ip", address)]);
            assert_eq!(granted.is_ok(), matches, "{address} in {network}");
        }
    }
}
