//! Instruction sets, found at run time.
//!
//! An [`Isa`] can only be made on a CPU that has it, so safe functions may dispatch on one without asking again.

use std::fmt;
use std::str::FromStr;

/// The instruction sets that kernels are written for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IsaKind {
    /// Portable Rust: the specification of the others.
    Scalar,
    /// x86-64 with AVX2 and F16C; FMA is never used.
    Avx2,
    /// x86-64 with AVX-512 F, BW, DQ, VL, VNNI, and what [`IsaKind::Avx2`] has.
    Avx512,
    /// AArch64 with Advanced SIMD.
    Neon,
    /// AArch64 with Advanced SIMD and the dot-product instructions (`sdot`).
    NeonDotprod,
}

impl IsaKind {
    /// Every kind, the slowest first within an architecture.
    pub const ALL: [Self; 5] = [Self::Scalar, Self::Avx2, Self::Avx512, Self::Neon, Self::NeonDotprod];

    /// The name that users type: scalar, avx2, avx512, neon, dotprod.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Neon => "neon",
            Self::NeonDotprod => "dotprod",
        }
    }

    fn detected(self) -> bool {
        match self {
            Self::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("f16c"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                Self::Avx2.detected()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512vnni")
            }
            #[cfg(target_arch = "aarch64")]
            Self::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            #[cfg(target_arch = "aarch64")]
            Self::NeonDotprod => Self::Neon.detected() && std::arch::is_aarch64_feature_detected!("dotprod"),
            _ => false,
        }
    }
}

impl FromStr for IsaKind {
    type Err = UnknownIsa;

    fn from_str(name: &str) -> Result<Self, UnknownIsa> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| UnknownIsa(name.to_owned()))
    }
}

/// A name that no [`IsaKind`] has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownIsa(String);

impl fmt::Display for UnknownIsa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = IsaKind::ALL.map(IsaKind::name).join(", ");
        write!(f, "unknown instruction set `{}`: choose one of {names}", self.0)
    }
}

impl std::error::Error for UnknownIsa {}

/// An instruction set that this CPU has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Isa(IsaKind);

impl Isa {
    /// Portable code, which every CPU runs.
    pub const SCALAR: Self = Self(IsaKind::Scalar);

    /// The token of `kind`, if this CPU has it.
    pub fn new(kind: IsaKind) -> Option<Self> {
        kind.detected().then_some(Self(kind))
    }

    /// The fastest one of this CPU.
    pub fn best() -> Self {
        Self::available().last().copied().unwrap_or(Self::SCALAR)
    }

    /// Those of this CPU, the slowest first.
    pub fn available() -> Vec<Self> {
        IsaKind::ALL.into_iter().filter_map(Self::new).collect()
    }

    /// What to dispatch on.
    pub const fn kind(self) -> IsaKind {
        self.0
    }

    /// The name that users type.
    pub const fn name(self) -> &'static str {
        self.0.name()
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for kind in IsaKind::ALL {
            assert_eq!(kind.name().parse(), Ok(kind));
        }
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let error = "sse".parse::<IsaKind>().expect_err("sse is no kind").to_string();
        assert!(error.contains("`sse`") && error.contains("scalar, avx2"), "{error}");
    }

    #[test]
    fn scalar_is_always_there_and_the_best_is_available() {
        assert!(Isa::available().contains(&Isa::SCALAR));
        assert!(Isa::available().contains(&Isa::best()));
    }
}
