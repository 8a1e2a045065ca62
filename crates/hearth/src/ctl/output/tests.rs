//! What is shown, as text, JSON and CSV.

use serde_json::json;

use super::*;

fn table() -> Table {
    Table::of(
        &["name", "power_watts", "on"],
        [
            vec![json!("Boiler, old"), json!(7), json!(true)],
            vec![json!("Lamp \"x\""), json!(1234.5), Value::Null],
        ],
    )
}

#[test]
fn a_table_is_aligned_and_numbers_stand_right() {
    let text = Shown::from(table()).text();
    let expected = "NAME         POWER WATTS  ON\n\
                    Boiler, old            7  yes\n\
                    Lamp \"x\"          1234.5  -";
    assert_eq!(text, expected);
    assert_eq!(Shown::from(Table::new(&["name"])).text(), "none");
}

#[test]
fn the_same_table_is_json_with_names() {
    let json = Shown::from(table()).json();
    assert_eq!(
        json[0],
        json!({"name": "Boiler, old", "power_watts": 7, "on": true})
    );
    assert_eq!(json[1]["on"], Value::Null);
}

#[test]
fn parts_are_indented_under_their_titles() {
    let one = Shown::One(vec![("id", json!("x")), ("made_at", json!(""))]);
    let parts = Shown::Parts(vec![
        ("this_home", one),
        ("said", Shown::Line("ok".to_owned())),
    ]);
    assert_eq!(
        parts.text(),
        "this home\n  id       x\n  made at  -\n\nsaid\n  ok"
    );
    assert_eq!(
        parts.json(),
        json!({"this_home": {"id": "x", "made_at": ""}, "said": {"done": "ok"}})
    );
}

#[test]
fn pieces_have_one_header_and_keep_their_widths() {
    let mut lines = Lines::new(Form::Text);
    let first = lines.next(&table());
    let second = lines.next(&Table::of(
        &["name", "power_watts", "on"],
        [vec![json!("x"), json!(1), json!(false)]],
    ));
    assert_eq!(first.lines().count(), 3);
    assert_eq!(second, "x                      1  no");
}

#[test]
fn csv_quotes_what_needs_it() {
    let mut lines = Lines::new(Form::Csv);
    let expected = "name,power_watts,on\n\"Boiler, old\",7,true\n\"Lamp \"\"x\"\"\",1234.5,";
    assert_eq!(lines.next(&table()), expected);
    assert_eq!(lines.end(&["name"]), None);
    assert_eq!(Lines::new(Form::Json).next(&table()).lines().count(), 2);
}

#[test]
fn an_answer_without_rows_is_said_to_be_one() {
    let end = |form| Lines::new(form).end(&["name", "on"]);
    assert_eq!(end(Form::Text), Some("none".to_owned()));
    assert_eq!(end(Form::Csv), Some("name,on".to_owned()));
    assert_eq!(end(Form::Json), None);
    let list = Shown::List(vec!["a".to_owned(), "b".to_owned()]);
    assert_eq!(
        (list.text(), list.json()),
        ("a\nb".to_owned(), json!(["a", "b"]))
    );
    assert_eq!(Shown::List(Vec::new()).text(), "none");
}

#[test]
fn a_name_cannot_move_the_cursor() {
    let text = Shown::Line("a\u{1b}[2Jb\nc".to_owned()).text();
    assert_eq!(text, "a\u{fffd}[2Jb\u{fffd}c");
    let row = vec![json!("x\r\ny")];
    assert_eq!(
        Lines::new(Form::Csv).next(&Table::of(&["n"], [row])),
        "n\nx\u{fffd}\u{fffd}y"
    );
}

#[test]
fn text_rounds_and_the_others_do_not() {
    let shown = [647.999_999_999_9, 433.0, -0.25, 0.000_012_5, 0.0, 1e12].map(rounded);
    assert_eq!(
        shown,
        ["648", "433", "-0.25", "0.0000125", "0", "1000000000000"]
    );
    let table = Table::of(&["n"], [vec![json!(647.999_999_999_9)]]);
    assert_eq!(Lines::new(Form::Csv).next(&table), "n\n647.9999999999");
}
