//! Runs the text of a kernel, thread by thread: slow, and therefore only where `FAKE_CUDA_INTERPRET` asks for it. It knows
//! the instructions that `gpu-direct`'s kernel is made of and refuses every other. Called by `kernel`.
//!
//! Source: NVIDIA's PTX instruction set; the names of operations and special registers are its.

use std::collections::BTreeMap;

use crate::{
    code::{Code, ILLEGAL_ADDRESS, INVALID_PTX, MISALIGNED_ADDRESS, UNKNOWN},
    state::runtime,
};

/// Instructions that a thread may need; more are taken for a loop without end.
const LONGEST: usize = 1 << 22;

/// Bytes of the widest load or store.
const WIDEST: usize = 16;

/// One entry of a module.
#[derive(Debug)]
pub(crate) struct Program {
    parameters: Vec<String>,
    registers: BTreeMap<String, usize>,
    labels: BTreeMap<String, usize>,
    instructions: Vec<Instruction>,
}

#[derive(Debug)]
struct Instruction {
    /// Left out unless this register is true.
    guard: Option<usize>,
    operation: Operation,
    operands: Vec<Operand>,
}

#[derive(Clone, Copy, Debug)]
enum Operation {
    LoadParameter,
    /// Bytes of each register.
    Load(usize),
    Store(usize),
    /// Also what makes 64 bits of 32.
    Move,
    MultiplyWide,
    Multiply,
    MultiplyAdd,
    Add,
    ShiftLeft,
    AtLeast,
    Branch,
    Return,
}

#[derive(Debug)]
enum Operand {
    Register(usize),
    /// Registers that are loaded or stored together.
    Vector(Vec<usize>),
    /// What a register points to.
    Pointer(usize),
    Parameter(usize),
    Number(u64),
    /// Of [`Place`]: threads, groups, thread, group; in x or y.
    Special(usize),
    Label(String),
}

/// Numbers of the special registers: `ntid`, `nctaid`, `tid`, `ctaid`, in x and y each.
pub(crate) type Place = [u32; 8];

const SPECIAL: [&str; 8] =
    ["%ntid.x", "%ntid.y", "%nctaid.x", "%nctaid.y", "%tid.x", "%tid.y", "%ctaid.x", "%ctaid.y"];

impl Program {
    /// Reads an entry of a module.
    pub(crate) fn parse(text: &str, entry: &str) -> Result<Self, Code> {
        let head = format!(".visible .entry {entry}(");
        let rest = text.split_once(&head).ok_or(INVALID_PTX)?.1;
        let (parameters, rest) = rest.split_once(')').ok_or(INVALID_PTX)?;
        let body = rest.split_once("{\n").and_then(|(_, rest)| rest.split_once("\n}")).ok_or(INVALID_PTX)?.0;
        let names = parameters.split(',').filter_map(|part| part.trim().strip_prefix(".param .u64 "));
        let mut program = Self {
            parameters: names.map(str::to_owned).collect(),
            registers: BTreeMap::new(),
            labels: BTreeMap::new(),
            instructions: Vec::new(),
        };
        for line in body.lines().map(str::trim).filter(|line| !line.starts_with(".reg ")) {
            program.line(line)?;
        }
        Ok(program)
    }

    fn line(&mut self, line: &str) -> Result<(), Code> {
        if let Some(label) = line.strip_suffix(':') {
            self.labels.insert(label.to_owned(), self.instructions.len());
            return Ok(());
        }
        let mut rest = line.strip_suffix(';').ok_or(INVALID_PTX)?;
        let mut guard = None;
        if let Some((register, guarded)) = rest.strip_prefix('@').and_then(|rest| rest.split_once(' ')) {
            (guard, rest) = (Some(self.register(register)), guarded);
        }
        let (name, operands) = rest.split_once(' ').unwrap_or((rest, ""));
        let operation = operation(name).ok_or(INVALID_PTX)?;
        let operands =
            split(operands).into_iter().map(|text| self.operand(text)).collect::<Result<_, _>>()?;
        self.instructions.push(Instruction { guard, operation, operands });
        Ok(())
    }

    fn operand(&mut self, text: &str) -> Result<Operand, Code> {
        if let Some(list) = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
            return Ok(Operand::Vector(list.split(',').map(|name| self.register(name.trim())).collect()));
        }
        if let Some(place) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
            if place.starts_with('%') {
                return Ok(Operand::Pointer(self.register(place)));
            }
            let at = self.parameters.iter().position(|name| name == place);
            return at.map(Operand::Parameter).ok_or(INVALID_PTX);
        }
        if let Some(at) = SPECIAL.iter().position(|name| *name == text) {
            return Ok(Operand::Special(at));
        }
        if text.starts_with('%') {
            return Ok(Operand::Register(self.register(text)));
        }
        Ok(text.parse().map_or_else(|_| Operand::Label(text.to_owned()), Operand::Number))
    }

    fn register(&mut self, name: &str) -> usize {
        let next = self.registers.len();
        *self.registers.entry(name.to_owned()).or_insert(next)
    }

    /// Runs one thread.
    pub(crate) fn run(&self, parameters: &[u64], place: &Place) -> Result<(), Code> {
        let mut thread = Thread { registers: vec![0; self.registers.len()], parameters, place };
        let mut next = 0;
        for _ in 0..LONGEST {
            let instruction = self.instructions.get(next).ok_or(INVALID_PTX)?;
            next += 1;
            if instruction.guard.is_some_and(|guard| thread.registers[guard] == 0) {
                continue;
            }
            match (instruction.operation, instruction.operands.as_slice()) {
                (Operation::Return, []) => return Ok(()),
                (Operation::Branch, [Operand::Label(label)]) => {
                    next = *self.labels.get(label).ok_or(INVALID_PTX)?;
                }
                (operation, operands) => thread.step(operation, operands)?,
            }
        }
        Err(UNKNOWN)
    }
}

struct Thread<'launch> {
    registers: Vec<u64>,
    parameters: &'launch [u64],
    place: &'launch Place,
}

impl Thread<'_> {
    fn step(&mut self, operation: Operation, operands: &[Operand]) -> Result<(), Code> {
        match (operation, operands) {
            (Operation::Load(width), [to, Operand::Pointer(from)]) => self.load(width, to, *from),
            (Operation::Store(width), [Operand::Pointer(to), from]) => self.store(width, *to, from),
            (_, [Operand::Register(to), values @ ..]) => {
                let values = values.iter().map(|value| self.value(value)).collect::<Result<Vec<_>, _>>()?;
                self.registers[*to] = compute(operation, &values)?;
                Ok(())
            }
            _ => Err(INVALID_PTX),
        }
    }

    fn value(&self, operand: &Operand) -> Result<u64, Code> {
        match operand {
            Operand::Register(at) => Ok(self.registers[*at]),
            Operand::Parameter(at) => self.parameters.get(*at).copied().ok_or(INVALID_PTX),
            Operand::Number(number) => Ok(*number),
            Operand::Special(at) => Ok(self.place[*at].into()),
            Operand::Vector(_) | Operand::Pointer(_) | Operand::Label(_) => Err(INVALID_PTX),
        }
    }

    fn load(&mut self, width: usize, to: &Operand, pointer: usize) -> Result<(), Code> {
        let registers = registers(to)?;
        let (from, length) = (self.registers[pointer], width * registers.len());
        let mut bytes = [0_u8; WIDEST];
        check(from, length)?;
        copy(bytes.as_mut_ptr() as u64, from, length)?;
        for (register, word) in registers.iter().zip(bytes.chunks(width)) {
            let mut wide = [0; 8];
            wide[..width].copy_from_slice(word);
            self.registers[*register] = u64::from_le_bytes(wide);
        }
        Ok(())
    }

    fn store(&self, width: usize, pointer: usize, from: &Operand) -> Result<(), Code> {
        let registers = registers(from)?;
        let (to, length) = (self.registers[pointer], width * registers.len());
        let mut bytes = [0_u8; WIDEST];
        check(to, length)?;
        for (register, word) in registers.iter().zip(bytes.chunks_mut(width)) {
            word.copy_from_slice(&self.registers[*register].to_le_bytes()[..width]);
        }
        copy(to, bytes.as_ptr() as u64, length)
    }
}

fn operation(name: &str) -> Option<Operation> {
    Some(match name {
        "ld.param.u64" => Operation::LoadParameter,
        "ld.global.v4.u32" | "ld.global.v2.u32" | "ld.global.u32" => Operation::Load(4),
        "ld.global.u64" => Operation::Load(8),
        "ld.global.u8" => Operation::Load(1),
        "st.global.v4.u32" | "st.global.u32" => Operation::Store(4),
        "st.global.u64" => Operation::Store(8),
        "st.global.u8" => Operation::Store(1),
        "mov.u32" | "cvt.u64.u32" => Operation::Move,
        "mul.wide.u32" => Operation::MultiplyWide,
        "mul.lo.s64" => Operation::Multiply,
        "mad.lo.s64" => Operation::MultiplyAdd,
        "add.s64" => Operation::Add,
        "shl.b64" => Operation::ShiftLeft,
        "setp.ge.u64" => Operation::AtLeast,
        "bra" => Operation::Branch,
        "ret" => Operation::Return,
        _ => return None,
    })
}

fn compute(operation: Operation, values: &[u64]) -> Result<u64, Code> {
    match (operation, values) {
        (Operation::LoadParameter, [value]) => Ok(*value),
        (Operation::Move, [value]) => Ok(u64::from(*value as u32)),
        (Operation::MultiplyWide, [left, right]) => Ok(u64::from(*left as u32) * u64::from(*right as u32)),
        (Operation::Multiply, [left, right]) => Ok(left.wrapping_mul(*right)),
        (Operation::MultiplyAdd, [left, right, more]) => Ok(left.wrapping_mul(*right).wrapping_add(*more)),
        (Operation::Add, [left, right]) => Ok(left.wrapping_add(*right)),
        (Operation::ShiftLeft, [value, by]) if *by < 64 => Ok(value << by),
        (Operation::AtLeast, [left, right]) => Ok((left >= right).into()),
        _ => Err(INVALID_PTX),
    }
}

/// Operands between commas that are in no list.
fn split(text: &str) -> Vec<&str> {
    let (mut depth, mut begin, mut parts) = (0, 0, Vec::new());
    for (at, letter) in text.char_indices() {
        match letter {
            '{' | '[' => depth += 1,
            '}' | ']' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(text[begin..at].trim());
                begin = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text[begin..].trim());
    parts.retain(|part| !part.is_empty());
    parts
}

fn registers(operand: &Operand) -> Result<&[usize], Code> {
    match operand {
        Operand::Register(at) => Ok(std::slice::from_ref(at)),
        Operand::Vector(list) => Ok(list),
        _ => Err(INVALID_PTX),
    }
}

/// A device takes loads and stores only at multiples of their width.
fn check(address: u64, length: usize) -> Result<(), Code> {
    if length > WIDEST {
        return Err(INVALID_PTX);
    }
    if address.is_multiple_of(length as u64) { Ok(()) } else { Err(MISALIGNED_ADDRESS) }
}

fn copy(to: u64, from: u64, length: usize) -> Result<(), Code> {
    runtime().prepare_copy(to, from, length as u64, None).map_err(|_| ILLEGAL_ADDRESS)?.run();
    Ok(())
}
