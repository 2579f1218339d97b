/// Asserts that two values become equal within a time, looking ten times a second. The left one is evaluated anew for each
/// look and may await.
///
/// ```ignore
/// assert_eventually!(world.number("SELECT count(*) FROM pipeline.mail_trust").await == 100, within: 60);
/// ```
#[macro_export]
macro_rules! assert_eventually {
    ($left:expr => $right:expr, within: $seconds:expr) => {{
        let wanted = $right;
        let deadline = ::std::time::Instant::now() + ::std::time::Duration::from_secs($seconds);
        loop {
            let got = $left;
            if got == wanted {
                break;
            }
            assert!(
                ::std::time::Instant::now() < deadline,
                "after {} s: {} is {:?}, not {:?}",
                $seconds,
                stringify!($left),
                got,
                wanted
            );
            ::tokio::time::sleep(::std::time::Duration::from_millis(100)).await;
        }
    }};
}
