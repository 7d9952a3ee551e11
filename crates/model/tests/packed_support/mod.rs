//! A small packed file to read, break and write again.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used)]

use edgewen_layout::{GroupSize, QuantizedMatrix, RowBlockShape, WeightBits};
use edgewen_model::packed::{
    Header, PackedWriter, QuantizationInfo, TensorKind, TensorPlan, expected_tensors,
};
use edgewen_model::{Config, GenerationDefaults, Rope, RopeScaling, TokenizerFiles};
use edgewen_testing::byte_level_tokenizer;
use half::f16;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::PathBuf;

/// What to put into the sample.
pub struct Kinds {
    pub linear: (WeightBits, GroupSize),
    pub embed: TensorKind,
    pub tied: bool,
    pub hidden: usize,
    pub template: Option<&'static str>,
}

impl Default for Kinds {
    fn default() -> Self {
        let linear = (WeightBits::Four, GroupSize::G64);
        let embed = TensorKind::RowBlocks { bits: WeightBits::Eight, group: GroupSize::G32 };
        Kinds { linear, embed, tied: true, hidden: 64, template: Some("{{ messages[0].content }}") }
    }
}

/// A packed file in a directory of its own.
pub struct Sample {
    pub dir: tempfile::TempDir,
    pub path: PathBuf,
    pub header: Header,
    kinds: Vec<TensorPlan>,
}

impl Sample {
    pub fn write(kinds: &Kinds) -> Self {
        Self::write_with(kinds, |_, _| {})
    }

    /// `edit` may change a tensor's bytes before they are written and hashed.
    pub fn write_with(kinds: &Kinds, edit: impl Fn(&str, &mut [u8])) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sample.ewn");
        let config = Config {
            hidden_size: kinds.hidden,
            intermediate_size: 80,
            layers: 1,
            heads: 4,
            kv_heads: 2,
            head_dim: 16,
            vocab_size: 260,
            max_position: 128,
            rms_norm_eps: 1e-6,
            rope: Rope { theta: 1e4, scaling: RopeScaling::Linear { factor: 2.0 } },
            tie_word_embeddings: kinds.tied,
        };
        let header = Header {
            config,
            generation: GenerationDefaults { eos: vec![256], temperature: Some(0.7), ..Default::default() },
            quantization: QuantizationInfo { method: "rtn".into(), group: 64, ..Default::default() },
            tokenizer: TokenizerFiles {
                tokenizer_json: byte_level_tokenizer().to_string().into_bytes(),
                tokenizer_config: Some("{\"a\": \"b\"}\n".into()),
                chat_template: kinds.template.map(str::to_owned),
            },
        };
        let plan = plan(kinds, &header.config);
        let mut writer = PackedWriter::create(&path, header.clone(), plan.clone(), false).unwrap();
        for TensorPlan { name, kind, shape } in &plan {
            let mut bytes = tensor_bytes(name, *kind, shape);
            edit(name, &mut bytes);
            writer.write(name, &bytes).unwrap();
        }
        writer.finish().unwrap();
        Sample { dir, path, header, kinds: plan }
    }

    /// Writes the sample's tensors, last first.
    pub fn fill(&self, mut writer: PackedWriter) -> PackedWriter {
        for TensorPlan { name, kind, shape } in self.kinds.iter().rev() {
            writer.write(name, &tensor_bytes(name, *kind, shape)).unwrap();
        }
        writer
    }

    pub fn bytes(&self) -> Vec<u8> {
        fs::read(&self.path).unwrap()
    }

    pub fn edit(&self, edit: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = self.bytes();
        edit(&mut bytes);
        fs::write(&self.path, bytes).unwrap();
    }

    /// The JSON part.
    pub fn metadata(&self) -> Value {
        read_metadata(&self.bytes())
    }

    /// Changes the JSON part and sets its length and hash right.
    pub fn edit_metadata(&self, edit: impl FnOnce(&mut Value)) {
        self.edit(|bytes| change_metadata(bytes, edit));
    }

    /// Names in the sample's directory.
    pub fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dir.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

fn read_metadata(bytes: &[u8]) -> Value {
    let length = u64::from_le_bytes(bytes[16..24].try_into().unwrap()) as usize;
    serde_json::from_slice(&bytes[64..64 + length]).unwrap()
}

/// Changes the JSON part of a file and sets its length and hash right. There must be room for it before the first blob.
pub fn change_metadata(bytes: &mut [u8], edit: impl FnOnce(&mut Value)) {
    let mut metadata = read_metadata(bytes);
    let first = metadata["blobs"][0]["offset"].as_u64().unwrap() as usize;
    edit(&mut metadata);
    let mut json = metadata.to_string().into_bytes();
    assert!(64 + json.len() <= first);
    // Blanks keep the length within the same page, and with it the place of the first blob.
    json.resize(json.len().max((first - 64).saturating_sub(4095)), b' ');
    bytes[64..first].fill(0);
    bytes[64..64 + json.len()].copy_from_slice(&json);
    bytes[16..24].copy_from_slice(&(json.len() as u64).to_le_bytes());
    bytes[32..64].copy_from_slice(&Sha256::digest(&json));
}

/// Every tensor of the model with the kinds asked for.
pub fn plan(kinds: &Kinds, config: &Config) -> Vec<TensorPlan> {
    let (bits, group) = kinds.linear;
    let kind = |name: &str, shape: &[usize]| match (name, shape.len()) {
        (_, 1) => TensorKind::F32,
        ("embed" | "head", _) => kinds.embed,
        _ => TensorKind::RowBlocks { bits, group },
    };
    let list = expected_tensors(config).into_iter();
    list.map(|(name, shape)| TensorPlan { kind: kind(&name, &shape), name, shape }).collect()
}

/// Values that are legal and differ from tensor to tensor.
pub fn tensor_bytes(name: &str, kind: TensorKind, shape: &[usize]) -> Vec<u8> {
    let mut state = name.bytes().fold(1u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
    let mut next = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let count: usize = shape.iter().product();
    match kind {
        TensorKind::F32 => (0..count).flat_map(|_| (f32::from(next()) / 64.0).to_le_bytes()).collect(),
        // Every input once: backwards, and turned by some places.
        TensorKind::U32 => {
            let turn = usize::from(next()) % count;
            (0..count).rev().flat_map(|i| (((i + turn) % count) as u32).to_le_bytes()).collect()
        }
        TensorKind::F16 | TensorKind::Bf16 => (0..count).flat_map(|_| [next(), next() & 0x3f]).collect(),
        TensorKind::RowBlocks { bits, group } => {
            let shape = RowBlockShape { rows: shape[0], inputs: shape[1], group, bits };
            let groups = shape.rows * shape.groups();
            let mask = if bits == WeightBits::Four { 15 } else { 255 };
            QuantizedMatrix {
                shape,
                codes: (0..count).map(|_| next() & mask).collect(),
                scales: (0..groups).map(|_| f16::from_f32(f32::from(next()) / 2048.0)).collect(),
                zeros: (0..groups).map(|_| next() & 15).collect(),
            }
            .pack()
        }
    }
}
