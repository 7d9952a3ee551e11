//! `reset_control`: drains first, resets then, and does not wait for ever.

mod common;

use edgewen_rtl::Model;

fn bench(timeout: u64) -> Option<Model> {
    let mut model = common::model("reset_control", &[])?;
    model.set("timeout_i", timeout);
    model.reset(2);
    model.clock();
    assert_eq!(model.get("core_rst_no"), 1);
    Some(model)
}

fn request(model: &mut Model) {
    model.set("request_i", 1);
    model.clock();
    model.set("request_i", 0);
    assert_eq!((model.get("flush_o"), model.get("resetting_o")), (1, 1));
}

/// Clocks until it is over, and in how many of them the core was in reset.
fn finish(model: &mut Model, limit: u32) -> (u32, u32) {
    let mut low = 0;
    for cycle in 0..limit {
        low += u32::from(model.get("core_rst_no") == 0);
        if model.get("resetting_o") == 0 && model.get("core_rst_no") == 1 {
            return (cycle, low);
        }
        model.clock();
    }
    panic!("still resetting after {limit} cycles");
}

#[test]
fn waits_for_the_masters() {
    let Some(mut model) = bench(0) else { return };
    request(&mut model);
    for _ in 0..5000 {
        model.clock();
        assert_eq!((model.get("flush_o"), model.get("core_rst_no")), (1, 1));
    }
    model.set("idle_i", 1);
    let (cycles, low) = finish(&mut model, 30);
    assert!(cycles < 16 && low >= 4, "{cycles} {low}");
}

#[test]
fn is_not_fooled_by_a_short_silence() {
    let Some(mut model) = bench(0) else { return };
    request(&mut model);
    for cycle in 0..100 {
        model.set("idle_i", u64::from(cycle % 4 != 0));
        model.clock();
        assert_eq!(model.get("core_rst_no"), 1);
    }
}

#[test]
fn is_forced_when_a_port_stays_silent() {
    let Some(mut model) = bench(100) else { return };
    request(&mut model);
    for cycle in 0..1000 {
        model.set("progress_i", u64::from(cycle % 50 == 0));
        model.clock();
        assert_eq!(model.get("core_rst_no"), 1);
    }
    model.set("progress_i", 0);
    let (cycles, low) = finish(&mut model, 200);
    assert!((50..130).contains(&cycles) && low >= 4, "{cycles} {low}");
}
