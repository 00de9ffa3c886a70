//! Timers of scripts: the node keeps their times, and calls their functions when they are due.

use super::Module;
use super::scriptlet::{Live, Scriptlet};
use crate::clock;
use crate::lock::locked;
use crate::node::Node;
use crate::notices::{Severity, notice};
use postfleet_lua::{Callout, Execution};
use postfleet_policy::{Alarm, TimerChange};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// The longest time that is waited for at once: a clock that is set meanwhile is seen then.
const LOOK: Duration = Duration::from_secs(60);

/// How soon after one beginning the next one may be: a timer may start itself anew.
const APART: Duration = Duration::from_millis(100);

/// The timers of one program.
#[derive(Debug, Default)]
pub(super) struct Timers {
    state: Mutex<State>,
    changed: Notify,
    /// Whether another program has taken the place of this one, or the node ends.
    over: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct State {
    timers: BTreeMap<u32, Timer>,
    /// The program is in force: times are counted from here.
    has_begun: bool,
}

#[derive(Debug)]
struct Timer {
    alarm: Alarm,
    due: Option<Due>,
    /// When it was called last.
    called: Option<Instant>,
    /// Its function has not returned yet.
    is_running: bool,
}

#[derive(Clone, Copy, Debug)]
enum Due {
    /// The alarm's time counts from when the program is in force.
    WithBegin,
    At(Instant),
    /// Milliseconds since 1970.
    Wall(u64),
}

impl Due {
    fn of(alarm: Alarm, now: Instant) -> Option<Self> {
        Some(match alarm {
            Alarm::After(ms) | Alarm::Every(ms) => Self::At(now.checked_add(Duration::from_millis(ms))?),
            Alarm::At(unix_ms) => Self::Wall(unix_ms),
        })
    }

    fn wait(self, now: Instant, wall_ms: u64) -> Duration {
        match self {
            Self::WithBegin => LOOK,
            Self::At(instant) => instant.saturating_duration_since(now),
            Self::Wall(ms) => Duration::from_millis(ms.saturating_sub(wall_ms)),
        }
    }
}

impl Timer {
    fn wait(&self, now: Instant, wall_ms: u64) -> Option<Duration> {
        let rest = self.called.map(|called| (called + APART).saturating_duration_since(now));
        Some(self.due?.wait(now, wall_ms).max(rest.unwrap_or_default()))
    }
}

impl State {
    /// The program is in force. `false`: it was before.
    fn begin(&mut self, now: Instant) -> bool {
        for timer in self.timers.values_mut().filter(|timer| matches!(timer.due, Some(Due::WithBegin))) {
            timer.due = Due::of(timer.alarm, now);
        }
        !std::mem::replace(&mut self.has_begun, true)
    }

    fn change(&mut self, number: u32, change: TimerChange, now: Instant) {
        let due = |alarm| if self.has_begun { Due::of(alarm, now) } else { Some(Due::WithBegin) };
        match change {
            TimerChange::Make(alarm) => {
                let timer = Timer { alarm, due: due(alarm), called: None, is_running: false };
                self.timers.insert(number, timer);
            }
            TimerChange::Start => {
                if let Some(timer) = self.timers.get_mut(&number) {
                    timer.due = due(timer.alarm);
                }
            }
            TimerChange::Stop => {
                if let Some(timer) = self.timers.get_mut(&number) {
                    timer.due = None;
                }
            }
        }
    }

    /// Those whose time has come. One that still runs is due when it has ended.
    fn take_due(&mut self, now: Instant, wall_ms: u64) -> Vec<u32> {
        let mut taken = Vec::new();
        for (number, timer) in &mut self.timers {
            if timer.is_running || timer.wait(now, wall_ms) != Some(Duration::ZERO) {
                continue;
            }
            let Some(due) = timer.due else { continue };
            timer.is_running = true;
            timer.called = Some(now);
            timer.due = match (timer.alarm, due) {
                (Alarm::Every(ms), Due::At(at)) => Some(Due::At(after(at, Duration::from_millis(ms), now))),
                _ => None,
            };
            taken.push(*number);
        }
        taken
    }

    /// How long nothing is due; none when nothing is.
    fn wait(&self, now: Instant, wall_ms: u64) -> Option<Duration> {
        let waiting = self.timers.values().filter(|timer| !timer.is_running);
        waiting.filter_map(|timer| timer.wait(now, wall_ms)).min()
    }
}

/// The next beginning of an interval that has not passed.
fn after(due: Instant, interval: Duration, now: Instant) -> Instant {
    let late = now.saturating_duration_since(due);
    let missed = late.as_nanos() / interval.as_nanos().max(1);
    let whole = interval.saturating_mul(u32::try_from(missed).unwrap_or(u32::MAX).saturating_add(1));
    due.checked_add(whole).unwrap_or(now)
}

impl Timers {
    pub(super) fn change(&self, number: u32, change: TimerChange) {
        locked(&self.state).change(number, change, Instant::now());
        self.changed.notify_one();
    }

    /// Nothing is called any more.
    pub(super) fn end(&self) {
        locked(&self.state).timers.clear();
        self.over.send_replace(true);
        self.changed.notify_one();
    }

    /// Waits until nothing is called any more.
    pub(super) async fn over(&self) {
        let mut over = self.over.subscribe();
        // The sender is here: it cannot be gone.
        drop(over.wait_for(|over| *over).await);
    }

    fn take_due(&self) -> Vec<u32> {
        locked(&self.state).take_due(Instant::now(), clock::wall().unix_millis())
    }

    /// Waits until something may be due; whether timers go on at all.
    async fn wait(&self) -> bool {
        if *self.over.borrow() {
            return false;
        }
        let wait = locked(&self.state).wait(Instant::now(), clock::wall().unix_millis());
        // A change that comes here has left its permit.
        drop(tokio::time::timeout(wait.unwrap_or(LOOK).min(LOOK), self.changed.notified()).await);
        true
    }

    fn ended(&self, number: u32) {
        if let Some(timer) = locked(&self.state).timers.get_mut(&number) {
            timer.is_running = false;
        }
        self.changed.notify_one();
    }

    fn forget(&self, number: u32) {
        locked(&self.state).timers.remove(&number);
    }

    fn is_empty(&self) -> bool {
        locked(&self.state).timers.is_empty()
    }
}

/// Runs the timers of a program that has come into force until another takes its place.
pub(super) fn begin(scriptlet: &Arc<Scriptlet>, node: &Arc<Node>, live: &Live) {
    // Scripts that are read anew may come into force while a configuration does.
    if !locked(&live.timers.state).begin(Instant::now()) || live.timers.is_empty() {
        return;
    }
    let (scriptlet, node, live) = (Arc::clone(scriptlet), Arc::clone(node), live.clone());
    tokio::spawn(async move {
        // What the script did not keep is told of at once, not at some later moment.
        let program = Arc::clone(&live.program);
        drop(tokio::task::spawn_blocking(move || program.collect()).await);
        while live.timers.wait().await {
            for number in live.timers.take_due() {
                let Some(execution) = Execution::timer(&live.program, number) else {
                    live.timers.forget(number);
                    notice(
                        Severity::Warning,
                        format_args!(
                            "scriptlet \"{}\": timer {number} is gone, nothing refers to it; keep what msys.timer gives \
                             in a global variable or in the table of the module",
                            Module::name(scriptlet.as_ref())
                        ),
                    );
                    continue;
                };
                let (scriptlet, node, live) = (Arc::clone(&scriptlet), Arc::clone(&node), live.clone());
                tokio::spawn(async move {
                    scriptlet.finish(&node, &live, execution, Callout::Timer, false).await;
                    live.timers.ended(number);
                });
            }
        }
    });
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_timer_is_due_once_or_again_and_again_but_never_twice_at_a_time() {
        let mut state = State::default();
        assert!(state.begin(Instant::now()));
        let start = Instant::now();
        state.change(1, TimerChange::Make(Alarm::Every(1000)), start);
        state.change(2, TimerChange::Make(Alarm::After(1500)), start);
        state.change(3, TimerChange::Make(Alarm::At(5_000)), start);
        assert_eq!(state.wait(start, 4_000), Some(SECOND));
        assert_eq!(state.take_due(start, 4_000), [0_u32; 0]);
        assert_eq!(state.take_due(start + SECOND, 5_000), [1, 3]);
        assert_eq!(state.wait(start + SECOND, 5_000), Some(SECOND / 2));
        // The first still runs, and what it misses is left out.
        assert_eq!(state.take_due(start + 4 * SECOND + SECOND / 4, 5_000), [2]);
        for number in [1, 2, 3] {
            state.timers.get_mut(&number).unwrap().is_running = false;
        }
        assert_eq!(state.take_due(start + 4 * SECOND + SECOND / 4, 9_000), [1]);
        state.timers.get_mut(&1).unwrap().is_running = false;
        assert_eq!(state.wait(start + 4 * SECOND + SECOND / 4, 9_000), Some(SECOND * 3 / 4));

        state.change(1, TimerChange::Stop, start);
        assert_eq!(state.wait(start + 5 * SECOND, 9_000), None);
        state.change(2, TimerChange::Start, start + 5 * SECOND);
        state.change(3, TimerChange::Start, start + 5 * SECOND);
        state.change(4, TimerChange::Start, start);
        assert_eq!(state.take_due(start + 5 * SECOND, 9_000), [3]);
        assert_eq!(state.wait(start + 5 * SECOND, 9_000), Some(SECOND * 3 / 2));
    }
}
