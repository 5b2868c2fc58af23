//! Proxies are not used yet. A program may say so once, instead of letting its user wonder.

/// The variables that name a proxy for HTTPS, in curl's order.
const VARIABLES: [&str; 4] = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];

/// The name of an environment variable that asks for a proxy, if one is set: hubward connects
/// directly all the same. Its value may hold a password and is not looked at.
#[must_use]
pub fn unused_proxy_variable() -> Option<&'static str> {
    first_set(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

fn first_set(is_set: impl Fn(&str) -> bool) -> Option<&'static str> {
    VARIABLES.into_iter().find(|name| is_set(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_first_variable_that_is_set() {
        for (set, expected) in [
            (&[][..], None),
            (&["NO_PROXY", "http_proxy"][..], None),
            (&["ALL_PROXY"][..], Some("ALL_PROXY")),
            (&["ALL_PROXY", "HTTPS_PROXY"][..], Some("HTTPS_PROXY")),
            (&["HTTPS_PROXY", "https_proxy"][..], Some("https_proxy")),
        ] {
            assert_eq!(first_set(|name| set.contains(&name)), expected, "{set:?}");
        }
    }
}
