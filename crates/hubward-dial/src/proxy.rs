//! Finds a proxy in the environment, so that a program can warn its user. hubward does not support proxies yet.

/// The environment variables that name a proxy for HTTPS, in curl's order of precedence.
const VARIABLES: [&str; 4] = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];

/// Returns the name of the first of these environment variables that is set: `https_proxy`, `HTTPS_PROXY`, `all_proxy`,
/// `ALL_PROXY`. Does not return the value, because the value may contain a password.
///
/// hubward ignores the proxy and connects directly.
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
