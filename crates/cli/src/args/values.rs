//! Readers of numbers on the command line: each refuses what its flag cannot mean.

pub(super) fn positive(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(0) => Err("must be at least 1".to_string()),
        Ok(value) => Ok(value),
        Err(_) => Err("not a whole number of at least 1".to_string()),
    }
}

pub(super) fn tokens(text: &str) -> Result<usize, String> {
    text.parse::<u32>().map(|value| value as usize).map_err(|_| "not a whole number of tokens".to_string())
}

pub(super) fn finite(text: &str) -> Result<f32, String> {
    text.parse::<f32>().ok().filter(|value| value.is_finite()).ok_or_else(|| "not a number".to_string())
}

pub(super) fn non_negative(text: &str) -> Result<f32, String> {
    finite(text).and_then(|value| if 0.0 <= value { Ok(value) } else { Err("must be 0 or more".to_string()) })
}

pub(super) fn above_zero(text: &str) -> Result<f32, String> {
    finite(text)
        .and_then(|value| if 0.0 < value { Ok(value) } else { Err("must be more than 0".to_string()) })
}

pub(super) fn probability(text: &str) -> Result<f32, String> {
    let inside = |value| 0.0 < value && value <= 1.0;
    finite(text)
        .and_then(|value| if inside(value) { Ok(value) } else { Err("must be in (0, 1]".to_string()) })
}

pub(super) fn fraction(text: &str) -> Result<f32, String> {
    let inside = |value| (0.0..=1.0).contains(&value);
    finite(text)
        .and_then(|value| if inside(value) { Ok(value) } else { Err("must be in [0, 1]".to_string()) })
}
