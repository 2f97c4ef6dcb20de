//! The kernel's clocks and randomness behind the core's ports.

use payload_core::port::{Clock, Entropy};
use payload_core::{Instant, Timestamp};
use rustix::rand::{GetRandomFlags, getrandom};
use rustix::time::{ClockId, Timespec, clock_gettime};

/// `CLOCK_BOOTTIME` for leases, `CLOCK_REALTIME` for calendars.
#[derive(Clone, Copy, Debug, Default)]
pub struct BootClock;

impl Clock for BootClock {
    fn now(&self) -> Instant {
        let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Boottime);
        let nanos = i128::from(tv_sec) * 1_000_000_000 + i128::from(tv_nsec);
        Instant::from_nanos(u64::try_from(nanos).expect("boot was after the clock's zero, and less than 584 years ago"))
    }

    fn wall(&self) -> Timestamp {
        let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Realtime);
        Timestamp::from_micros(tv_sec.saturating_mul(1_000_000).saturating_add(tv_nsec / 1_000))
    }
}

/// The kernel's random number generator.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        let mut filled = 0;
        while filled < bytes.len() {
            match getrandom(&mut bytes[filled..], GetRandomFlags::empty()) {
                Ok(count) => filled += count,
                Err(rustix::io::Errno::INTR) => {}
                // Ids and tokens that can be guessed would be worse than no server.
                Err(error) => panic!("the kernel gives no randomness: {error}"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_clock_goes_forward_and_counts_since_boot() {
        let before = BootClock.now();
        assert!(before.as_nanos() > 0);
        assert!(BootClock.now() >= before);
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
        let seconds: f64 = uptime.split_whitespace().next().unwrap().parse().unwrap();
        assert!(
            before.as_nanos() as f64 / 1e9 <= seconds + 0.011,
            "uptime is cut to hundredths"
        );
    }

    #[test]
    fn the_wall_clock_is_in_microseconds_since_1970() {
        let year_2020 = 1_577_836_800_000_000;
        let year_2200 = 7_258_118_400_000_000;
        assert!((year_2020..year_2200).contains(&BootClock.wall().as_micros()));
    }

    #[test]
    fn randomness_fills_all_and_does_not_repeat() {
        let (mut first, mut second) = ([0; 1000], [0; 1000]);
        OsEntropy.fill(&mut first);
        OsEntropy.fill(&mut second);
        assert_ne!(first, second);
        assert!(first[990..].iter().any(|byte| *byte != 0));
        OsEntropy.fill(&mut []);
    }
}
