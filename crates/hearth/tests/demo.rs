//! The demo is the first thing that anybody runs: it comes to its end, and says so.

use std::process::Command;

#[test]
fn the_demo_comes_to_its_end() {
    let output = Command::new(env!("CARGO_BIN_EXE_hearth"))
        .arg("demo")
        .output()
        .unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{err}\n{out}");
    assert!(out.contains("byte receipt"), "{out}");
}
