//! Changes and sums beside the crate `prefix-trie` with all ancestors updated.
//!
//! `cargo bench -p postfleet-cidr --bench prefix_trie [addresses]`

mod compare;

#[expect(clippy::print_stdout, reason = "a bench prints what it found")]
fn main() {
    let addresses = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(1_000_000);
    let report = compare::run(compare::Size { addresses, operations: 300_000.min(addresses), rounds: 9 });
    print!("{}", report.text);
    for (ours, peer) in report.digests {
        println!("digest {ours:016x}");
        assert_eq!(ours, peer, "both sides have to read the same sums");
    }
}
