//! The prompt.

use std::time::{SystemTime, UNIX_EPOCH};

use postfleet_console::Role;
use tz::TimeZone;

use super::endpoint::Endpoint;

/// What prompts are made of.
#[derive(Clone, Debug)]
pub(super) struct Prompt {
    template: String,
    product: String,
    short: String,
    full: String,
    node: String,
    zone: TimeZone,
}

impl Prompt {
    pub(super) fn new(
        template: Option<String>,
        role: Role,
        product: String,
        endpoint: &Endpoint,
        node: String,
    ) -> Self {
        let template = template.unwrap_or_else(|| match role {
            Role::Node => "%t %p(%e)> ".into(),
            Role::Manager => "%t %E> ".into(),
        });
        // A zone that cannot be read shows universal time rather than stopping the console.
        let zone = match std::env::var("TZ") {
            Ok(name) if !name.is_empty() => TimeZone::from_posix_tz(&name).ok(),
            Ok(_) => None,
            Err(_) => TimeZone::local().ok(),
        };
        let zone = zone.unwrap_or_else(TimeZone::utc);
        Self { template, product, short: endpoint.short(), full: endpoint.to_string(), node, zone }
    }

    /// The prompt with the time of this moment, and a `*` while a transaction is open.
    pub(super) fn draw(&self, transaction: bool) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let prompt = self.at(i64::try_from(now).unwrap_or_default());
        if transaction { starred(&prompt) } else { prompt }
    }

    fn at(&self, unix_seconds: i64) -> String {
        let offset = self.zone.find_local_time_type(unix_seconds).map_or(0, |found| found.ut_offset());
        let of_day = (unix_seconds + i64::from(offset)).rem_euclid(86_400);
        let time = format!("{:02}:{:02}:{:02}", of_day / 3600, of_day / 60 % 60, of_day % 60);
        let mut out = String::new();
        let mut rest = self.template.chars();
        while let Some(c) = rest.next() {
            if c != '%' {
                out.push(c);
                continue;
            }
            match rest.next() {
                Some('t') => out.push_str(&time),
                Some('p') => out.push_str(&self.product),
                Some('e') => out.push_str(&self.short),
                Some('E') => out.push_str(&self.full),
                Some('n') => out.push_str(&self.node),
                Some('%') | None => out.push('%'),
                Some(other) => out.extend(['%', other]),
            }
        }
        out
    }
}

/// The prompt with a `*` before its last `>`; at its end when it has none.
fn starred(prompt: &str) -> String {
    match prompt.rsplit_once('>') {
        Some((before, behind)) => format!("{before}*>{behind}"),
        None => format!("{}* ", prompt.trim_end()),
    }
}

/// The product's name in the banner's second line, `# <product> version: <version>`.
pub(super) fn product_of(banner: &str) -> Option<&str> {
    banner.lines().nth(1)?.strip_prefix("# ")?.split_once(" version: ").map(|(product, _)| product)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_transaction_is_seen() {
        assert_eq!(starred("12:00:00 postfleet(2025)> "), "12:00:00 postfleet(2025)*> ");
        assert_eq!(starred("p# "), "p#* ");
    }

    fn prompt(template: Option<&str>, role: Role, endpoint: &str) -> String {
        let endpoint = Endpoint::recognise(endpoint).unwrap().unwrap();
        let product = "ecelerity".into();
        let mut prompt =
            Prompt::new(template.map(String::from), role, product, &endpoint, "relay-0-1".into());
        prompt.zone = TimeZone::fixed(3600).unwrap();
        prompt.at(1_900_000_000)
    }

    /// 1900000000 is 17:46:40 UTC; the zone of the test is an hour ahead.
    #[test]
    fn console_s1_4_prompt_forms() {
        assert_eq!(prompt(None, Role::Node, "/tmp/2025"), "18:46:40 ecelerity(2025)> ");
        assert_eq!(prompt(None, Role::Node, "/run/a/2025"), "18:46:40 ecelerity(/run/a/2025)> ");
        assert_eq!(prompt(Some("%t %p(%E)> "), Role::Node, "/tmp/2025"), "18:46:40 ecelerity(/tmp/2025)> ");
        assert_eq!(prompt(None, Role::Manager, "/tmp/2025"), "18:46:40 /tmp/2025> ");
        assert_eq!(prompt(Some("%t %p> "), Role::Node, "/tmp/2025"), "18:46:40 ecelerity> ");
        assert_eq!(prompt(None, Role::Node, "127.0.0.1:2025"), "18:46:40 ecelerity(127.0.0.1:2025)> ");
        assert_eq!(prompt(Some("%n 100%% %x %"), Role::Node, "/tmp/2025"), "relay-0-1 100% %x %");
    }

    #[test]
    fn products_are_read_from_banners() {
        assert_eq!(product_of("####\n# ecelerity version: 1.0.0\n# x\n####\n"), Some("ecelerity"));
        assert_eq!(product_of("####\n"), None);
    }
}
