//! Threads that wait for databases, so that the event loop does not.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a thread without work stays.
const IDLE: Duration = Duration::from_secs(30);

/// How large a pool is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolOptions {
    /// The most threads (`Concurrency`), at least 1. A thread is started when there is work for it.
    pub threads_max: usize,
    /// The most jobs that wait for a thread (`Backlog`), at least 1.
    pub waiting_max: usize,
}

impl Default for PoolOptions {
    /// 20 threads, and 10 000 jobs that wait: more would only make every caller wait longer.
    fn default() -> Self {
        Self { threads_max: 20, waiting_max: 10_000 }
    }
}

/// A job was not taken: too many wait already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many queries wait already")]
pub struct Busy;

type Job = Box<dyn FnOnce() + Send>;

/// A pool of threads.
#[derive(Clone)]
pub struct Pool(Arc<Shared>);

struct Shared {
    name: String,
    state: Mutex<State>,
    /// Told of a new job.
    work: Condvar,
}

struct State {
    options: PoolOptions,
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
}

impl Pool {
    /// A pool without threads yet.
    #[must_use]
    pub fn new(name: &str, options: PoolOptions) -> Self {
        let state = State { options, jobs: VecDeque::new(), threads: 0, idle: 0 };
        Self(Arc::new(Shared { name: name.to_owned(), state: Mutex::new(state), work: Condvar::new() }))
    }

    /// Takes new sizes into force. Threads that are too many end when they have nothing to do.
    pub fn set_options(&self, options: PoolOptions) {
        self.0.locked().options = options;
        self.0.work.notify_all();
    }

    /// Runs a job on one of the threads, after those that wait.
    ///
    /// # Errors
    /// [`Busy`]; the job is dropped.
    pub fn run(&self, job: impl FnOnce() + Send + 'static) -> Result<(), Busy> {
        let state = self.0.locked();
        if state.jobs.len() >= state.options.waiting_max.max(1) {
            return Err(Busy);
        }
        self.add(state, Box::new(job))
    }

    /// Drops something on one of the threads, because that may block. Never refused.
    pub fn dispose(&self, waste: impl Send + 'static) {
        // Without a thread it waits for the next one.
        let _no_thread = self.add(self.0.locked(), Box::new(move || drop(waste)));
    }

    fn add(&self, mut state: MutexGuard<'_, State>, job: Job) -> Result<(), Busy> {
        state.jobs.push_back(job);
        if state.jobs.len() > state.idle && state.threads < state.options.threads_max.max(1) {
            let shared = Arc::clone(&self.0);
            let name = format!("pool {}", shared.name);
            let started = std::thread::Builder::new().name(name).spawn(move || shared.work());
            match started {
                Ok(_) => state.threads += 1,
                // The system has no thread to give, and none of ours will come by.
                Err(_) if state.threads == 0 => return Err(Busy),
                Err(_) => {}
            }
        }
        drop(state);
        self.0.work.notify_one();
        Ok(())
    }
}

impl Shared {
    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut state = self.locked();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                drop(state);
                // A driver that panics must not take the pool with it; the job's own guard tells its caller.
                let _panicked = catch_unwind(AssertUnwindSafe(job));
                state = self.locked();
                continue;
            }
            if state.threads > state.options.threads_max.max(1) {
                break;
            }
            state.idle += 1;
            let (woken, timeout) =
                self.work.wait_timeout(state, IDLE).unwrap_or_else(PoisonError::into_inner);
            state = woken;
            state.idle -= 1;
            if timeout.timed_out() && state.jobs.is_empty() {
                break;
            }
        }
        state.threads -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn jobs_run_side_by_side_up_to_the_size_and_the_rest_waits() {
        let pool = Pool::new("t", PoolOptions { threads_max: 2, waiting_max: 1 });
        let (started, starts) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let released = Arc::new(Mutex::new(released));
        let job = |number: u32| {
            let (started, released) = (started.clone(), Arc::clone(&released));
            move || {
                started.send(number).unwrap();
                released.lock().unwrap().recv().unwrap();
            }
        };
        pool.run(job(1)).unwrap();
        assert_eq!(starts.recv(), Ok(1));
        pool.run(job(2)).unwrap();
        assert_eq!(starts.recv(), Ok(2));
        pool.run(job(3)).unwrap();
        assert_eq!(pool.run(job(4)), Err(Busy));
        assert!(starts.try_recv().is_err());
        release.send(()).unwrap();
        assert_eq!(starts.recv(), Ok(3));
        release.send(()).unwrap();
        release.send(()).unwrap();
    }

    #[test]
    fn a_job_that_panics_costs_nobody_else_anything() {
        let pool = Pool::new("t", PoolOptions { threads_max: 1, waiting_max: 9 });
        let (done, ended) = mpsc::channel();
        pool.run(|| std::panic::resume_unwind(Box::new("a fault"))).unwrap();
        pool.run(move || done.send(()).unwrap()).unwrap();
        assert_eq!(ended.recv(), Ok(()));
    }
}
