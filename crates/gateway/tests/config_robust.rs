//! Files that are damaged in any way are refused or read, and never more than that.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::path::Path;

use extproc_gateway::Config;

/// Reads and resolves; errors must be printable and say something.
fn read(text: &str) -> bool {
    let result = Config::parse(text, "damaged").and_then(|config| {
        let plan = config.plan()?;
        config.effective()?;
        Ok(plan)
    });
    result.map_err(|errors| assert!(errors.to_string().starts_with("damaged:"), "{errors}")).is_ok()
}

#[test]
fn damaged_examples() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/examples/gateway");
    let (mut readable, mut refused) = (0, 0);
    let mut count = |text: &str| if read(text) { readable += 1 } else { refused += 1 };
    for entry in std::fs::read_dir(examples).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        for cut in (0..text.len()).step_by(83).filter(|it| text.is_char_boundary(*it)) {
            count(&text[..cut]);
            for instead in ["\u{0}", "{", "]", "'", "&a ", "*a", "- ", ": ", "\t", "99999999999999999999", "\u{fffd}"] {
                let end = (cut + 3..=text.len()).find(|it| text.is_char_boundary(*it)).unwrap_or(text.len());
                count(&format!("{}{instead}{}", &text[..cut], &text[end..]));
            }
        }
        for (index, line) in lines.iter().enumerate() {
            let mut without = lines.clone();
            without.remove(index);
            count(&without.join("\n"));
            let mut twice = lines.clone();
            twice.insert(index, line);
            count(&twice.join("\n"));
        }
    }
    assert!(readable > 30 && refused > 300, "the damage is neither too small nor too large: {readable} {refused}");
}

#[test]
fn bottomless_files() {
    for (open, close) in [("[", "]"), ("{a: ", "}"), ("- ", "")] {
        for depth in [100, 100_000] {
            let value = format!("{}{}", open.repeat(depth), close.repeat(depth));
            // A key that is read as it is, and one that is not read at all.
            assert!(!read(&value));
            assert!(!read(&format!("gateways:\n  {value}")));
            assert!(!read(&format!("admin:\n  {value}")));
        }
    }
    let laughs: String =
        (1..12).map(|it| format!("- &a{it} [{}]\n", vec![format!("*a{}", it - 1); 10].join(", "))).collect();
    assert!(!read(&format!("admin:\n- &a0 lol\n{laughs}")), "references may not multiply without bound");
}
