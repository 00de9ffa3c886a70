//! How much a load does, in turns of its loops over tokens, stanzas and options. Only tests count: that a load takes
//! time in proportion to its text is held by numbers that are the same on every machine.

/// One turn of a loop over what a text holds.
#[cfg(not(test))]
#[inline]
pub(crate) const fn step() {}

#[cfg(test)]
pub(crate) use counted::step;

#[cfg(test)]
mod counted {
    use std::cell::Cell;

    std::thread_local! {
        static STEPS: Cell<u64> = const { Cell::new(0) };
    }

    pub(crate) fn step() {
        STEPS.set(STEPS.get() + 1);
    }

    /// The steps that something takes in this thread.
    pub(super) fn of<T>(act: impl FnOnce() -> T) -> (T, u64) {
        let before = STEPS.get();
        let done = act();
        (done, STEPS.get() - before)
    }
}

#[cfg(test)]
mod tests {
    use super::counted::of;
    use crate::live::{Command, Running, Session};
    use crate::{Config, LoadRequest, MemoryFiles, Role};

    const MAIN: &str = "/etc/t/ecelerity.conf";

    /// Files of so many stanzas.
    type Form = fn(usize) -> MemoryFiles;

    /// Each form makes another check look at every stanza.
    const FORMS: [(&str, Form); 13] = [
        ("mixed", |count| main(&crate::sample::mixed(count))),
        ("domains", |count| many(count, &|at| format!("Domain d{at}.example {{ Max_Retry_Interval = 9 }}"))),
        ("patterns", |count| {
            // A name is held against every pattern when it is looked up; nothing may do so while a file is read.
            many(count, &|at| format!("Domain \"/d{at}[.]example$/\" {{ Max_Retry_Interval = 9 }}"))
        }),
        ("gateways", |count| many(count, &|at| format!("Domain d{at} {{ Gateway = a Routes = ( b ) }}"))),
        ("groups", |count| {
            many(count / 2, &|at| format!("Binding_Group g{at} {{ Binding b{at} {{ Idle_Timeout = 9 }} }}"))
        }),
        ("failover", |count| {
            let one = |at: usize| {
                let (high, low) = (at / 250, at % 250 + 1);
                format!("Binding b{at} {{ Bind_Address = 10.1.{high}.{low} Enable_Duravip = on }}")
            };
            let follow = |at: usize| {
                let (high, low) = (at / 250, at % 250 + 1);
                format!("Listen 10.2.{high}.{low}:25 {{ Duravip_Follow = b{at} }}")
            };
            let followers = text(count / 2, &follow);
            main(&format!(
                "cluster {{ Topology 10.1.0.0/16 {{ interface = e }} }}\n{}\nESMTP_Listener {{\n{followers}\n}}",
                text(count / 2, &one)
            ))
        }),
        ("limits", |count| {
            let limits =
                text(count / 2, &|at| format!("Domain d{at} {{ Cluster_Max_Outbound_Connections = 9 }}"));
            let objects = text(count / 2, &|at| format!("Replicate c{at} {{ type = cache }}"));
            main(&format!("{limits}\ncluster {{\n{objects}\n}}"))
        }),
        ("rules", |count| {
            let rules = text(count / 2, &|at| {
                format!("Policy_Rule r{at} {{ key = a limit = 1 action = discard object = c{at} }}")
            });
            let objects = text(count / 2, &|at| format!("Replicate c{at} {{ type = cache }}"));
            main(&format!("{rules}\ncluster {{\n{objects}\n}}"))
        }),
        ("consoles", |count| {
            let one = |at: usize| {
                let (high, low) = (at / 250, at % 250 + 1);
                format!("Listen 127.1.{high}.{low}:2025 {{ Always_Allow = on }}")
            };
            main(&format!("Control_Listener {{\n{}\n}}", text(count, &one)))
        }),
        ("adapters", |count| {
            let one = |at: usize| {
                let (high, low) = (at / 250, at % 250 + 1);
                format!("Listen 10.2.{high}.{low}:10040 {{ }}")
            };
            main(&format!("Policy_Listener {{ Peer 10.0.0.0/8 {{ }}\n{}\n}}", text(count, &one)))
        }),
        ("loggers", |count| {
            many(count, &|at| {
                format!("bounce_logger l{at} {{ bouncelog = \"cluster:///var/log/l{at}=>a\" }}")
            })
        }),
        ("files", |count| {
            let count = count / 4;
            (0..count).fold(main(&text(count, &|at| format!("include f{at}.conf"))), |files, at| {
                files.with(&format!("/etc/t/f{at}.conf"), format!("Domain d{at} {{ }} Domain e{at} {{ }}"))
            })
        }),
        ("errors", |count| many(count, &|at| format!("Domain d{at} {{ Idle_Tmeout = 9 }}"))),
    ];

    fn main(text: &str) -> MemoryFiles {
        MemoryFiles::new().with(MAIN, text)
    }

    fn text(count: usize, one: &dyn Fn(usize) -> String) -> String {
        (0..count).map(one).collect::<Vec<_>>().join("\n")
    }

    fn many(count: usize, one: &dyn Fn(usize) -> String) -> MemoryFiles {
        main(&text(count, one))
    }

    fn load(files: &MemoryFiles) -> Option<Config> {
        let request = LoadRequest { main: Some(MAIN.into()), ..LoadRequest::default() };
        Config::load(files, &request).config
    }

    /// Twice the text, twice the steps: with a tenth for what grows like a logarithm.
    fn grows_with_the_text(what: &str, steps: &dyn Fn(usize) -> u64) {
        let (small, large) = (steps(1_000), steps(2_000));
        assert!(small > 1_000, "{what}: {small} steps are not counted where the work is");
        assert!(large * 10 <= small * 21, "{what}: {small} steps, and {large} for twice as much");
    }

    #[test]
    fn checking_takes_steps_in_proportion_to_the_text() {
        for (what, files) in FORMS {
            grows_with_the_text(what, &|count| {
                let files = files(count);
                of(|| load(&files)).1
            });
        }
    }

    #[test]
    fn so_do_a_reload_and_a_change() {
        for (what, files) in FORMS.iter().filter(|(what, _)| *what != "errors") {
            grows_with_the_text(what, &|count| {
                let before = load(&files(count)).unwrap_or_else(|| panic!("{what}"));
                let after = load(&files(count + 10)).unwrap_or_else(|| panic!("{what}"));
                let mut running = Running::start(before);
                let set = Command::parse("config set domain d7 idle_timeout 8", Role::Node).unwrap();
                let look = Command::parse("config where domain d7 idle_timeout", Role::Node).unwrap();
                let ((), steps) = of(|| {
                    let proposal = running.reload(after);
                    running.activate(proposal).unwrap();
                    let mut session = Session::default();
                    session.perform(&set, &running).unwrap();
                    session.perform(&look, &running).unwrap();
                    let config = running.in_effect();
                    drop((config.failover(), config.agreement(), config.without_effect(), running.text()));
                });
                steps
            });
        }
    }

    #[test]
    fn ten_thousand_stanzas_take_few_steps() {
        let files = main(&crate::sample::mixed(10_000));
        let (config, steps) = of(|| load(&files));
        let stanzas = config.unwrap().tree().instances().count();
        assert!(stanzas > 10_000, "{stanzas}");
        // Some forty turns a stanza: its words, its options, and the checks that look at it.
        assert!(steps < 600_000, "{steps}");
    }
}
