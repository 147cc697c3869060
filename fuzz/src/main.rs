//! One target under libFuzzer, which `make fuzz` builds in and which is led by what the inputs reach; `SLIPWAY_FUZZ_TARGET`
//! names it. Built without it, this program only tells the targets' names.

#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
static TARGET: std::sync::LazyLock<slipway_fuzz::Target> = std::sync::LazyLock::new(|| {
    let name = std::env::var("SLIPWAY_FUZZ_TARGET").unwrap_or_default();
    slipway_fuzz::TARGETS.into_iter().find(|target| target.name == name).expect("SLIPWAY_FUZZ_TARGET names a target")
});

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|input: &[u8]| (TARGET.run)(input));

#[cfg(not(fuzzing))]
fn main() {
    for target in slipway_fuzz::TARGETS {
        println!("{}", target.name);
    }
}
