//! Layouts and tensors at their limits.

use super::*;
use crate::worker::tests::support::{read, worker, write};

#[test]
fn layouts_tell_bytes_and_rows() {
    let layout = Layout::new(DataType::Bfloat16, &[128, 7168]).unwrap();
    assert_eq!((layout.bytes(), layout.rows(), layout.row_bytes()), (128 * 7168 * 2, 128, 7168 * 2));
    assert_eq!(layout.with_rows(3).unwrap().shape(), [3, 7168]);
    let scalar = Layout::new(DataType::Float64, &[]).unwrap();
    assert_eq!((scalar.bytes(), scalar.rows(), scalar.row_bytes()), (8, 1, 8));
    assert_eq!(scalar.with_rows(1), Ok(scalar));
    assert_eq!(scalar.with_rows(2), Err(TensorError::Rows { first: 0, count: 2, rows: 1 }));
    assert_eq!(Layout::new(DataType::Uint8, &[0, u64::MAX, 2]).map(|layout| layout.bytes()), Ok(0));
    assert_eq!(Layout::new(DataType::Uint8, &[1 << 32]), Err(TensorError::TooLarge));
    assert_eq!(Layout::new(DataType::Uint8, &[u64::MAX, u64::MAX]), Err(TensorError::TooLarge));
    assert_eq!(Layout::new(DataType::Uint8, &[1; 9]), Err(TensorError::Dimensions { given: 9 }));
    assert_eq!(Layout::of_bytes(7), Layout::new(DataType::Uint8, &[7]).unwrap());
    for data_type in DataType::ALL {
        assert_eq!(DataType::from_number(data_type.number()), Some(*data_type));
    }
    assert_eq!(DataType::from_number(200), None);
}

#[test]
fn tensors_stay_within_their_memory() {
    let worker = worker(0, &[]);
    let memory = worker.allocate(4096).unwrap();
    let room = memory.length();
    let whole = Tensor::new(&memory, 0, Layout::of_bytes(room as u32)).unwrap();
    let beyond = Tensor::new(&memory, 1, *whole.layout()).unwrap_err();
    assert_eq!(beyond, TensorError::OutOfBounds { offset: 1, bytes: room, room });
    assert!(Tensor::new(&memory, u64::MAX, Layout::of_bytes(1)).is_err());
    let table = Tensor::new(&memory, 64, Layout::new(DataType::Uint16, &[10, 4]).unwrap()).unwrap();
    write(&table, &(0..80).collect::<Vec<u8>>());
    let rows = table.rows(2, 3).unwrap();
    assert_eq!((rows.offset(), rows.shape(), read(&rows)), (64 + 16, &[3, 4][..], (16..40).collect()));
    assert_eq!(table.rows(8, 3).unwrap_err(), TensorError::Rows { first: 8, count: 3, rows: 10 });
    assert!(table.viewed_as(Layout::of_bytes(80)).is_ok());
    assert!(memory.belongs_to(worker.endpoint()));
}
