//! Message ids: `CC/CC-PPPPP-TTTTTTTT`, counter, process and time with the fast changing digits first.

use alloc::string::{String, ToString};
use core::fmt;
use core::str::FromStr;

use postfleet_types::{Reader, WallTime, WireError, Writer};

/// The id of one recipient copy, unique on its node. With the node's name it is unique in the fleet.
///
/// Ordered by creation: second, counter, process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId {
    second: u32,
    counter: u16,
    process: u32,
}

/// Why a text is no message id. The caller's input is at fault; nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a message id; expected CC/CC-PPPPP-TTTTTTTT, for example 00/00-02001-C6DD1CA4")]
pub struct MessageIdError;

impl MessageId {
    /// Puts an id together from its parts: Unix second, process id, counter within the second.
    #[must_use]
    pub const fn from_parts(second: u32, process: u32, counter: u16) -> Self {
        Self { second, counter, process }
    }

    /// The Unix second that the id carries. When more than 65,536 ids were drawn in a second it lies ahead of
    /// the clock.
    #[must_use]
    pub const fn second(self) -> u32 {
        self.second
    }

    /// The process id that the id carries.
    #[must_use]
    pub const fn process(self) -> u32 {
        self.process
    }

    /// The counter within the second.
    #[must_use]
    pub const fn counter(self) -> u16 {
        self.counter
    }

    /// The id as a file name: `/` becomes `-`.
    #[must_use]
    pub fn file_name(self) -> String {
        self.to_string().replace('/', "-")
    }

    /// Reads the form that [`MessageId::file_name`] writes.
    ///
    /// # Errors
    /// [`MessageIdError`] for every other text.
    pub fn from_file_name(name: &str) -> Result<Self, MessageIdError> {
        let (first, rest) = name.split_once('-').ok_or(MessageIdError)?;
        let (second, rest) = rest.split_once('-').ok_or(MessageIdError)?;
        parse(first, second, rest)
    }

    /// The number of the folder under `msg/`, the first two digits of the reversed time. It changes every second.
    #[must_use]
    pub const fn folder(self) -> u8 {
        let [low, ..] = self.second.to_le_bytes();
        low.rotate_right(4)
    }

    pub(crate) fn write(self, writer: &mut Writer) {
        writer.u32(self.second).u32(self.process).u16(self.counter);
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self { second: reader.u32()?, process: reader.u32()?, counter: reader.u16()? })
    }
}

/// The bytes that an id takes in an envelope.
pub(crate) const ID_BYTES: usize = 10;

const fn reversed32(value: u32) -> u32 {
    (((value & 0x0F0F_0F0F) << 4) | ((value >> 4) & 0x0F0F_0F0F)).swap_bytes()
}

const fn reversed16(value: u16) -> u16 {
    (((value & 0x0F0F) << 4) | ((value >> 4) & 0x0F0F)).swap_bytes()
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [high, low] = reversed16(self.counter).to_be_bytes();
        write!(f, "{high:02X}/{low:02X}-{:05}-{:08X}", self.process, reversed32(self.second))
    }
}

impl FromStr for MessageId {
    type Err = MessageIdError;

    fn from_str(text: &str) -> Result<Self, MessageIdError> {
        let (first, rest) = text.split_once('/').ok_or(MessageIdError)?;
        let (second, rest) = rest.split_once('-').ok_or(MessageIdError)?;
        parse(first, second, rest)
    }
}

/// `CC`, `CC`, `PPPPP-TTTTTTTT`.
fn parse(first: &str, second: &str, rest: &str) -> Result<MessageId, MessageIdError> {
    let (process, time) = rest.split_once('-').ok_or(MessageIdError)?;
    let [high, low] = [first, second].map(|text| hex(text, 2));
    let counter = (hex_u8(high?)? << 8) | hex_u8(low?)?;
    let digits = process.bytes().all(|byte| byte.is_ascii_digit());
    let shortest = process.len() == 5 || process.len() > 5 && !process.starts_with('0');
    if !digits || !shortest {
        return Err(MessageIdError);
    }
    Ok(MessageId {
        second: reversed32(hex(time, 8)?),
        counter: reversed16(counter),
        process: process.parse().map_err(|_| MessageIdError)?,
    })
}

fn hex(text: &str, digits: usize) -> Result<u32, MessageIdError> {
    let allowed = |byte: u8| matches!(byte, b'0'..=b'9' | b'A'..=b'F');
    if text.len() != digits || !text.bytes().all(allowed) {
        return Err(MessageIdError);
    }
    u32::from_str_radix(text, 16).map_err(|_| MessageIdError)
}

fn hex_u8(value: u32) -> Result<u16, MessageIdError> {
    u8::try_from(value).map(u16::from).map_err(|_| MessageIdError)
}

/// Draws the ids of one process. One generator a process, or ids repeat.
///
/// The second never goes back: when the wall clock does, ids go on from the last second used, and when the
/// 65,536 ids of a second are used up, the next second's are taken.
#[derive(Clone, Debug)]
pub struct MessageIds {
    process: u32,
    second: u32,
    /// The next counter; 65,536 when the second is used up.
    counter: u32,
}

impl MessageIds {
    /// A generator for the process with this id, which never draws an id of a second before `not_before`.
    ///
    /// A spool that is opened again says what to pass: [`crate::take_stock`].
    #[must_use]
    pub const fn new(process: u32, not_before: u32) -> Self {
        Self { process, second: not_before, counter: 0 }
    }

    /// The next id.
    pub fn draw(&mut self, now: WallTime) -> MessageId {
        let now = u32::try_from(now.unix_seconds()).unwrap_or(u32::MAX);
        if now > self.second {
            self.second = now;
            self.counter = 0;
        }
        let counter = u16::try_from(self.counter).unwrap_or_else(|_| {
            self.second = self.second.wrapping_add(1);
            self.counter = 0;
            0
        });
        self.counter += 1;
        MessageId { second: self.second, counter, process: self.process }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn mta_case_12_message_id() {
        let mut ids = MessageIds::new(2001, 0);
        let now = WallTime::from_unix_seconds(1_254_219_116);
        let drawn: Vec<String> = (0..4).map(|_| ids.draw(now).to_string()).collect();
        assert_eq!(drawn.first().unwrap(), "00/00-02001-C6DD1CA4");
        assert_eq!(drawn.get(1).unwrap(), "10/00-02001-C6DD1CA4");
        assert_eq!(drawn.get(3).unwrap(), "30/00-02001-C6DD1CA4");
    }

    #[test]
    fn mta_4_1_counter_overflow_takes_the_next_second() {
        let mut ids = MessageIds::new(7, 0);
        let now = WallTime::from_unix_seconds(1000);
        let last = (0..65_536).map(|_| ids.draw(now)).last().unwrap();
        assert_eq!((last.second(), last.counter()), (1000, u16::MAX));
        let next = ids.draw(now);
        assert_eq!((next.second(), next.counter()), (1001, 0));
        // When the clock reaches the borrowed second, its counter goes on.
        let next = ids.draw(WallTime::from_unix_seconds(1001));
        assert_eq!((next.second(), next.counter()), (1001, 1));
    }

    #[test]
    fn a_clock_that_goes_back_repeats_no_id() {
        let mut ids = MessageIds::new(7, 0);
        let first = ids.draw(WallTime::from_unix_seconds(1000));
        let second = ids.draw(WallTime::from_unix_seconds(900));
        assert!(second > first);
        assert_eq!(MessageIds::new(7, 1234).draw(WallTime::from_unix_seconds(1000)).second(), 1234);
    }

    #[test]
    fn the_folder_is_the_start_of_the_reversed_time() {
        let id = MessageId::from_parts(1_254_219_116, 2001, 0);
        assert_eq!(format!("{:02X}", id.folder()), "C6");
        assert_eq!(id.file_name(), "00-00-02001-C6DD1CA4");
    }

    #[test]
    fn only_the_one_form_is_an_id() {
        let check = |text: &str| assert_eq!(text.parse::<MessageId>(), Err(MessageIdError), "{text}");
        check("");
        check("00/00-2001-C6DD1CA4");
        check("00/00-002001-C6DD1CA4");
        check("00/00-02001-c6dd1ca4");
        check("00/0-02001-C6DD1CA4");
        check("00-00-02001-C6DD1CA4");
        check("00/00-02001-C6DD1CA4-");
        check("00/00-99999999999-C6DD1CA4");
        check("00/00-+2001-C6DD1CA4");
        check("é/00-02001-C6DD1CA4");
    }

    proptest! {
        #[test]
        fn printing_and_parsing_agree(second: u32, process: u32, counter: u16) {
            let id = MessageId::from_parts(second, process, counter);
            prop_assert_eq!(id.to_string().parse::<MessageId>(), Ok(id));
            prop_assert_eq!(MessageId::from_file_name(&id.file_name()), Ok(id));
            let folder = format!("{:02X}", id.folder());
            let shown = id.to_string();
            prop_assert!(shown.rsplit('-').next().is_some_and(|time| time.starts_with(&folder)), "{shown}");
        }
    }
}
