//! One connection to a control socket.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use postfleet_console::client::{Greeting, ProtocolError, Reader, Unit};
use thiserror::Error;

use super::endpoint::Endpoint;
use super::exit;

/// Longest time for a connection to be made and greeted.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long one read waits before the caller looks at deadline and interrupts again.
const READ_SLICE: Duration = Duration::from_millis(50);

/// Why there is no connection. Nothing was run.
#[derive(Debug, Error)]
pub(super) enum ConnectError {
    /// The system said no.
    #[error("Cannot connect to {endpoint}: {cause}.{hint}")]
    Io { endpoint: String, cause: String, hint: &'static str },
    /// Somebody else listens there.
    #[error(
        "Refusing to talk to {endpoint}: the process behind it runs as user {uid}, which is neither root nor you \
         nor the service's own account. Anybody can put a socket into a shared folder; name the right one."
    )]
    Stranger { endpoint: String, uid: u32 },
    /// Whoever answers does not speak the protocol.
    #[error("Cannot use {endpoint}: {cause}.")]
    Protocol { endpoint: String, cause: ProtocolError },
    /// The server wants a password.
    #[error(
        "Authorization required for console session at {endpoint}: the server offers {mechanisms}, and this \
         version has no password logins. Use the node's Unix socket."
    )]
    Login { endpoint: String, mechanisms: String },
}

impl ConnectError {
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::Io { .. } | Self::Stranger { .. } | Self::Protocol { .. } => exit::UNREACHABLE,
            Self::Login { .. } => exit::NOT_LOGGED_IN,
        }
    }
}

#[derive(Debug)]
enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

/// What waiting for the server gave.
#[derive(Debug)]
pub(super) enum Received {
    Unit(Unit),
    /// Nothing complete within a short while.
    Nothing,
    /// The server closed the connection, or it broke.
    Closed,
    /// The server no longer makes sense.
    Broken(ProtocolError),
}

/// A greeted connection.
#[derive(Debug)]
pub(super) struct Connection {
    stream: Stream,
    reader: Reader,
    pub(super) greeting: Greeting,
}

impl Connection {
    /// Connects, checks who is behind a Unix socket, and waits for the greeting.
    pub(super) fn open(endpoint: &Endpoint) -> Result<Self, ConnectError> {
        let failed = |error: &io::Error| ConnectError::Io {
            endpoint: endpoint.to_string(),
            cause: reason(error),
            hint: hint(error.kind()),
        };
        let mut stream = match endpoint {
            Endpoint::Unix(path) => {
                let stream = UnixStream::connect(path).map_err(|error| failed(&error))?;
                let peer =
                    rustix::net::sockopt::socket_peercred(&stream).map_err(|error| failed(&error.into()))?;
                if !trusted(peer.uid.as_raw()) {
                    return Err(ConnectError::Stranger {
                        endpoint: endpoint.to_string(),
                        uid: peer.uid.as_raw(),
                    });
                }
                Stream::Unix(stream)
            }
            Endpoint::Tcp { host, port, .. } => {
                Stream::Tcp(connect_tcp(host, *port).map_err(|error| failed(&error))?)
            }
            Endpoint::Ssh(_) => return Err(failed(&io::Error::other("not available in this version"))),
        };
        stream.limit().map_err(|error| failed(&error))?;
        let mut reader = Reader::new();
        let deadline = Instant::now() + CONNECT_TIMEOUT;
        loop {
            match receive(&mut stream, &mut reader) {
                Received::Unit(Unit::Greeting(greeting)) if greeting.mechanisms.is_empty() => {
                    return Ok(Self { stream, reader, greeting });
                }
                Received::Unit(Unit::Greeting(greeting)) => {
                    let mechanisms = greeting.mechanisms.join(", ");
                    return Err(ConnectError::Login { endpoint: endpoint.to_string(), mechanisms });
                }
                // The reader gives a greeting first or an error.
                Received::Unit(_) | Received::Closed => {
                    return Err(failed(&io::Error::other("the server closed the connection")));
                }
                Received::Broken(cause) => {
                    return Err(ConnectError::Protocol { endpoint: endpoint.to_string(), cause });
                }
                Received::Nothing if Instant::now() < deadline => {}
                Received::Nothing => {
                    return Err(failed(&io::Error::new(
                        ErrorKind::TimedOut,
                        "no greeting within 10 seconds",
                    )));
                }
            }
        }
    }

    /// Sends bytes; false when the connection is gone.
    pub(super) fn send(&mut self, bytes: &[u8]) -> bool {
        match &mut self.stream {
            Stream::Unix(stream) => stream.write_all(bytes),
            Stream::Tcp(stream) => stream.write_all(bytes),
        }
        .is_ok()
    }

    /// The next unit, waiting for a short while only.
    pub(super) fn receive(&mut self) -> Received {
        receive(&mut self.stream, &mut self.reader)
    }

    /// Whether the server has closed while nothing was under way: an idle connection times out.
    pub(super) fn is_closed(&mut self) -> bool {
        let answered = match &self.stream {
            Stream::Unix(stream) => stream.set_nonblocking(true),
            Stream::Tcp(stream) => stream.set_nonblocking(true),
        };
        let closed = answered.is_err() || matches!(self.receive(), Received::Closed | Received::Broken(_));
        let restored = match &self.stream {
            Stream::Unix(stream) => stream.set_nonblocking(false),
            Stream::Tcp(stream) => stream.set_nonblocking(false),
        };
        closed || restored.is_err()
    }
}

impl Stream {
    fn limit(&self) -> io::Result<()> {
        match self {
            Self::Unix(stream) => {
                stream.set_read_timeout(Some(READ_SLICE))?;
                stream.set_write_timeout(Some(CONNECT_TIMEOUT))
            }
            Self::Tcp(stream) => {
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(READ_SLICE))?;
                stream.set_write_timeout(Some(CONNECT_TIMEOUT))
            }
        }
    }
}

fn receive(stream: &mut Stream, reader: &mut Reader) -> Received {
    match reader.poll_unit() {
        Ok(Some(unit)) => return Received::Unit(unit),
        Ok(None) => {}
        Err(error) => return Received::Broken(error),
    }
    let mut bytes = [0; 64 * 1024];
    let read = match stream {
        Stream::Unix(stream) => stream.read(&mut bytes),
        Stream::Tcp(stream) => stream.read(&mut bytes),
    };
    match read {
        Ok(0) => Received::Closed,
        Ok(count) => {
            reader.receive(bytes.get(..count).unwrap_or_default());
            match reader.poll_unit() {
                Ok(Some(unit)) => Received::Unit(unit),
                Ok(None) => Received::Nothing,
                Err(error) => Received::Broken(error),
            }
        }
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
            ) =>
        {
            Received::Nothing
        }
        Err(_) => Received::Closed,
    }
}

fn connect_tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Root, ourselves, or the account the service runs as.
fn trusted(uid: u32) -> bool {
    uid == 0 || uid == rustix::process::getuid().as_raw() || Some(uid) == service_account()
}

/// The uid of the account `postfleet`. Only root makes accounts.
fn service_account() -> Option<u32> {
    let accounts = std::fs::read_to_string("/etc/passwd").ok()?;
    accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some("postfleet")).then(|| fields.nth(1)?.parse().ok())?
    })
}

/// The system's words without the error number, which tells operators nothing.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_string()
}

/// What to do about the errors that operators meet.
fn hint(kind: ErrorKind) -> &'static str {
    if matches!(kind, ErrorKind::NotFound | ErrorKind::ConnectionRefused) {
        " Is a node running there? 'postfleet console --help' shows how to name another endpoint."
    } else if kind == ErrorKind::PermissionDenied {
        " The socket belongs to the service's account; try with sudo."
    } else {
        ""
    }
}
