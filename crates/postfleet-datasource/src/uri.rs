//! Where a datasource gets its answers: `driver:rest`.

use alloc::string::String;
use core::fmt;

/// A driver that is known by name. Not all of them are in every build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Driver {
    /// SQLite files.
    Sqlite,
    /// Comma separated files; the query names one.
    Csv,
    /// PostgreSQL.
    Pgsql,
    /// Whatever unixODBC reaches.
    Odbc,
    /// Never finds anything and has nothing to connect to.
    Null,
}

/// The part in front of the first colon, and what stands behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uri {
    /// Who is asked.
    pub driver: Driver,
    /// What the driver gets, verbatim.
    pub rest: String,
}

/// Why a text is no address of a datasource. The configuration is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    /// There is no colon.
    #[error("URI has bogus syntax: {0}")]
    Syntax(String),
    /// The driver is not known.
    #[error("unable to find driver \"{0}\"")]
    Driver(String),
}

impl Driver {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Sqlite, Self::Csv, Self::Pgsql, Self::Odbc, Self::Null];

    /// The word in front of the colon.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Csv => "csv",
            Self::Pgsql => "pgsql",
            Self::Odbc => "odbc",
            Self::Null => "null",
        }
    }
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl Uri {
    /// Reads one. The driver's name may be in either case.
    ///
    /// # Errors
    /// [`UriError`].
    pub fn parse(text: &str) -> Result<Self, UriError> {
        let (driver, rest) = text.split_once(':').ok_or_else(|| UriError::Syntax(text.into()))?;
        let known = Driver::ALL.into_iter().find(|known| known.word().eq_ignore_ascii_case(driver));
        Ok(Self { driver: known.ok_or_else(|| UriError::Driver(driver.into()))?, rest: rest.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_behind_the_first_colon_is_the_driver_s() {
        let uri = Uri::parse("odbc:DSN=sqlserver;UID=user;PWD=a:b").expect("well formed");
        assert_eq!((uri.driver, &*uri.rest), (Driver::Odbc, "DSN=sqlserver;UID=user;PWD=a:b"));
        assert_eq!(Uri::parse("CSV:").map(|uri| uri.driver), Ok(Driver::Csv));
        let error = |text| Uri::parse(text).expect_err("refused").to_string();
        assert_eq!(error("sqlite"), "URI has bogus syntax: sqlite");
        assert_eq!(error("oracle:x"), "unable to find driver \"oracle\"");
    }
}
