//! Steps 1 to 3 of a take-over, as one process takes them: find the hub, or become it. Pure; the ground is handed in.

/// What a process finds outside itself: the lock file, its locks, the socket. Every method may fail; then
/// nothing more of the attempt is done.
pub trait Ground {
    /// Why an attempt ends early.
    type Stop;

    /// Connects to whoever listens at the bus's path.
    ///
    /// # Errors
    /// The attempt ends. Nobody listening is no error.
    fn connect(&mut self) -> Result<bool, Self::Stop>;

    /// The number in the lock file.
    ///
    /// # Errors
    /// The attempt ends.
    fn number(&mut self) -> Result<u64, Self::Stop>;

    /// Whether another process holds a lock on any byte.
    ///
    /// # Errors
    /// The attempt ends.
    fn is_locked(&mut self) -> Result<bool, Self::Stop>;

    /// Locks the byte of a generation, if nobody else holds it.
    ///
    /// # Errors
    /// The attempt ends.
    fn lock(&mut self, generation: u64) -> Result<bool, Self::Stop>;

    /// Lets go of that lock.
    fn unlock(&mut self);

    /// Shuts the reading side of the old stream, if there is one, and delivers what it still holds.
    ///
    /// # Errors
    /// The attempt ends.
    fn leave(&mut self) -> Result<(), Self::Stop>;

    /// Writes the number into the lock file.
    ///
    /// # Errors
    /// The attempt ends.
    fn write_number(&mut self, generation: u64) -> Result<(), Self::Stop>;

    /// Listens at the bus's path, in place of whoever did before.
    ///
    /// # Errors
    /// The attempt ends.
    fn listen(&mut self, generation: u64) -> Result<(), Self::Stop>;
}

/// What an attempt came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing yet.
    Nothing,
    /// Another generation than the one known has begun.
    Moved(u64),
    /// A stream is up.
    Stream,
    /// This process is the hub of this generation.
    Host(u64),
}

/// One attempt. `known` is the number that the last attempt found; `suspect` says that this hub has been silent
/// for so long that it is to be replaced although it holds its lock.
///
/// The lock comes before the old stream is left: a suspected hub that wakes up and misses a member then finds
/// the higher lock before it logs that member's departure.
///
/// # Errors
/// What the ground says.
pub fn attempt<G: Ground>(ground: &mut G, known: Option<u64>, suspect: bool) -> Result<Found, G::Stop> {
    let number = ground.number()?;
    if known != Some(number) {
        return Ok(Found::Moved(number));
    }
    if !suspect {
        if ground.connect()? {
            return Ok(Found::Stream);
        }
        if ground.is_locked()? {
            return Ok(Found::Nothing);
        }
    }
    let next = number.saturating_add(1);
    if !ground.lock(next)? {
        return Ok(Found::Nothing);
    }
    // Somebody may have come and gone between the look at the number and the lock.
    if ground.number()? != number {
        ground.unlock();
        return Ok(Found::Nothing);
    }
    ground.leave()?;
    ground.write_number(next)?;
    ground.listen(next)?;
    Ok(Found::Host(next))
}
