//! Syslog: messages to `/dev/log`, in the form that the C library's syslog(3) writes (RFC 3164), or in that of RFC 5424.

use super::sink::Line;
use log::Level;
use std::io::{self, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use time::macros::format_description;
use time::{OffsetDateTime, UtcOffset};
use tz::TimeZone;

/// Where the syslog daemon of a host takes messages.
const SOCKET: &str = "/dev/log";

/// The name of the program in messages.
const TAG: &str = "skydns";

/// The facility `daemon`, as it stands in the priority (RFC 5424 §6.2.1).
const FACILITY: u8 = 3 << 3;

/// Longest text of a message, in octets: rsyslog takes messages of 8 KiB, and a socket may refuse much longer ones.
const MAX_TEXT_OCTETS: usize = 8_000;

/// The form of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SyslogForm {
    /// `<30>Nov 26 06:44:00 skydns[123]: text`, in local time: what every daemon at /dev/log reads.
    Rfc3164,
    /// `<30>1 2026-11-26T06:44:00.000Z host skydns 123 - - text`.
    Rfc5424,
}

/// A connection to the syslog daemon.
#[derive(Debug)]
pub(super) struct Syslog {
    form: SyslogForm,
    socket: SyslogSocket,
    /// The time zone of the host; a change of it shows after a restart, as with syslog(3).
    zone: TimeZone,
}

/// A daemon listens for datagrams, or, seldom, for streams.
#[derive(Debug)]
enum SyslogSocket {
    Datagrams(UnixDatagram),
    /// Each message ends with an octet 0.
    Stream(UnixStream),
}

impl Syslog {
    /// Connects to the daemon.
    ///
    /// # Errors
    /// Nobody listens at /dev/log.
    pub(super) fn open(form: SyslogForm) -> io::Result<Self> {
        Ok(Self { form, socket: SyslogSocket::connect()?, zone: local_zone() })
    }

    /// Sends one line. After a restart of the daemon /dev/log is another socket, so that is tried as well.
    ///
    /// # Errors
    /// The daemon does not take the message.
    pub(super) fn send(&mut self, line: &Line) -> io::Result<()> {
        let message = self.message(line);
        if self.socket.send(message.as_bytes()).is_err() {
            self.socket = SyslogSocket::connect()?;
            self.socket.send(message.as_bytes())?;
        }
        Ok(())
    }

    fn message(&self, line: &Line) -> String {
        let (priority, pid) = (FACILITY | severity(line.level), std::process::id());
        let text = shortened(&line.text);
        match self.form {
            SyslogForm::Rfc3164 => {
                let time = local_timestamp(line.time, &self.zone);
                format!("<{priority}>{time} {TAG}[{pid}]: {text}")
            }
            SyslogForm::Rfc5424 => {
                let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
                let host = host.filter(|name| !name.is_empty()).unwrap_or_else(|| "-".to_owned());
                let time = super::sink::timestamp(line.time);
                format!("<{priority}>1 {time} {host} {TAG} {pid} - - {text}")
            }
        }
    }
}

impl SyslogSocket {
    fn connect() -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        match socket.connect(SOCKET) {
            Ok(()) => Ok(Self::Datagrams(socket)),
            Err(error) if error.raw_os_error() == Some(nix::libc::EPROTOTYPE) => {
                UnixStream::connect(SOCKET).map(Self::Stream)
            }
            Err(error) => Err(error),
        }
    }

    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        match self {
            Self::Datagrams(socket) => socket.send(message).map(drop),
            Self::Stream(stream) => stream.write_all(&[message, b"\0"].concat()),
        }
    }
}

/// The severity of a level (RFC 5424 §6.2.1).
fn severity(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

/// The beginning of a text that is too long for one message.
fn shortened(text: &str) -> &str {
    let end = (0..=MAX_TEXT_OCTETS.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    &text[..end.unwrap_or(0)]
}

/// The time zone of the variable `TZ`, else of the host; UTC if neither can be read.
fn local_zone() -> TimeZone {
    let zone = match std::env::var("TZ") {
        Ok(zone) => TimeZone::from_posix_tz(&zone),
        Err(_) => TimeZone::local(),
    };
    zone.unwrap_or_else(|_| TimeZone::utc())
}

/// A time as RFC 3164 §4.1.2 has it, such as `Nov  6 06:44:00`.
fn local_timestamp(time: OffsetDateTime, zone: &TimeZone) -> String {
    let format = format_description!("[month repr:short] [day padding:space] [hour]:[minute]:[second]");
    let offset = zone.find_local_time_type(time.unix_timestamp()).map_or(0, tz::LocalTimeType::ut_offset);
    let offset = UtcOffset::from_whole_seconds(offset).unwrap_or(UtcOffset::UTC);
    time.to_offset(offset).format(format).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(seconds).expect("a time")
    }

    #[test]
    fn times_are_local_and_days_have_two_columns() {
        let berlin = TimeZone::from_posix_tz("CET-1CEST,M3.5.0,M10.5.0/3").expect("a zone");
        assert_eq!(local_timestamp(at(1_785_888_000), &berlin), "Aug  5 02:00:00");
        assert_eq!(local_timestamp(at(1_797_375_600), &berlin), "Dec 16 00:00:00");
        assert_eq!(local_timestamp(at(1_797_375_600), &TimeZone::utc()), "Dec 15 23:00:00");
    }

    #[test]
    fn long_texts_are_cut_between_letters() {
        let text = format!("{}é", "x".repeat(MAX_TEXT_OCTETS - 1));
        assert_eq!(shortened(&text).len(), MAX_TEXT_OCTETS - 1);
        assert_eq!(shortened("short"), "short");
    }
}
