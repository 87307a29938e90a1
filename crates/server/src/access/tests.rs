//! What clients must prove, by their address and what the catalog says of them.

use millrace_types::Concealed;

use super::*;
use crate::config::Options;

fn guard(options: Options) -> Guard {
    Guard::new(&options.resolve().unwrap(), b"nonce".to_vec()).unwrap()
}

fn catalog() -> Catalog {
    let mut catalog = Catalog::new();
    let verifier = Verifier::of("x").unwrap().to_string();
    let with = |id, name: &str, verifier: Option<&String>| Role {
        id: RoleId(id),
        login: true,
        verifier: verifier.map(Concealed::new),
        ..Role::new(name)
    };
    catalog.put_role(with(1, "open", None));
    catalog.put_role(with(2, "closed", Some(&verifier)));
    let past = Role { valid_until: Some(100), ..with(3, "past", Some(&verifier)) };
    catalog.put_role(past);
    catalog
}

/// In one word what a user must prove from an address.
fn asked(guard: &Guard, catalog: &Catalog, user: &str, peer: &str) -> &'static str {
    let (user, database) = (user.to_owned(), "dev".to_owned());
    let peer = peer.parse().unwrap();
    let login = Login { user, database, peer, encrypted: false, options: Vec::new() };
    match guard.authentication(catalog, &login, 100) {
        Authentication::Trust => "trust",
        Authentication::Password(_) => "password",
        Authentication::Nobody(_) => "nobody",
        Authentication::Reject(_) => "reject",
    }
}

#[test]
fn who_has_a_password_must_say_it_and_others_come_in_from_loopback_alone() {
    let (guard, catalog) = (guard(Options::default()), catalog());
    let asked = |user, peer| asked(&guard, &catalog, user, peer);
    for (user, here, elsewhere) in [
        ("root", "trust", "nobody"),
        ("open", "trust", "nobody"),
        ("closed", "password", "password"),
        ("past", "nobody", "nobody"),
        // It is told that it does not exist.
        ("unknown", "trust", "nobody"),
    ] {
        assert_eq!((asked(user, "127.0.0.1"), asked(user, "::1")), (here, here), "{user}");
        assert_eq!(asked(user, "192.0.2.1"), elsewhere, "{user}");
    }
}

#[test]
fn with_a_password_of_root_everybody_is_asked_and_nobody_learns_which_names_there_are() {
    let given = Options { password: Some("y".into()), ..Options::default() };
    for (guard, catalog) in [
        (guard(given), catalog()),
        (guard(Options::default()), {
            let mut catalog = catalog();
            let verifier = Some(Concealed::new(Verifier::of("y").unwrap().to_string()));
            catalog.put_role(Role { verifier, ..Role::root() });
            catalog
        }),
    ] {
        for peer in ["127.0.0.1", "192.0.2.1"] {
            assert_eq!(asked(&guard, &catalog, "root", peer), "password");
            assert_eq!(asked(&guard, &catalog, "unknown", peer), "nobody");
        }
        assert!(guard.accepts(&catalog, "root", "y", 0));
        assert!(!guard.accepts(&catalog, "root", "x", 0));
        assert!(guard.accepts(&catalog, "closed", "x", 0));
        assert!(!guard.accepts(&catalog, "past", "x", 100));
        assert!(!guard.accepts(&catalog, "open", "", 0));
        assert!(!guard.accepts(&catalog, "unknown", "", 0));
    }
}

#[test]
fn insecure_lets_those_in_who_have_no_password() {
    let guard = guard(Options { insecure: true, ..Options::default() });
    assert_eq!(asked(&guard, &catalog(), "open", "192.0.2.1"), "trust");
    assert_eq!(asked(&guard, &catalog(), "closed", "192.0.2.1"), "password");
}

#[test]
fn an_address_beyond_loopback_needs_somebody_with_a_password() {
    let open = || Options { listen: "0.0.0.0:1".parse().ok(), ..Options::default() };
    let http = || Options { http: "0.0.0.0:1".parse().ok(), ..Options::default() };
    let check = |options: Options, catalog: &Catalog| {
        let config = options.resolve().unwrap();
        Guard::new(&config, Vec::new()).unwrap().check_open(&config, catalog).is_ok()
    };
    let empty = Catalog::new();
    assert!(!check(open(), &empty) && !check(http(), &empty));
    assert!(!check(Options { password: Some(String::new()), ..open() }, &empty));
    assert!(check(Options { password: Some("x".into()), ..open() }, &empty));
    assert!(check(Options { insecure: true, ..http() }, &empty));
    assert!(check(open(), &catalog()) && check(Options::default(), &empty));
}
