//! Types of tensor elements, and their numbers on the wire.

macro_rules! data_types {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $bytes:literal;)*) => {
        /// What a tensor is made of. The numbers are this crate's wire format and do not change.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        #[non_exhaustive]
        pub enum DataType {
            $($(#[$doc])* $name = $number,)*
        }

        impl DataType {
            /// Every type.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Bytes of one element.
            #[must_use]
            pub const fn bytes(self) -> u32 {
                match self {
                    $(Self::$name => $bytes,)*
                }
            }

            /// The type of a number.
            #[must_use]
            pub const fn from_number(number: u8) -> Option<Self> {
                match number {
                    $($number => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

data_types! {
    /// Byte.
    Uint8 = 0, 1;
    /// Signed byte.
    Int8 = 1, 1;
    /// Unsigned, 16 bits.
    Uint16 = 2, 2;
    /// Signed, 16 bits.
    Int16 = 3, 2;
    /// Unsigned, 32 bits.
    Uint32 = 4, 4;
    /// Signed, 32 bits.
    Int32 = 5, 4;
    /// Unsigned, 64 bits.
    Uint64 = 6, 8;
    /// Signed, 64 bits.
    Int64 = 7, 8;
    /// 16-bit floating point.
    Float16 = 8, 2;
    /// 16-bit brain floating point.
    Bfloat16 = 9, 2;
    /// 32-bit floating point.
    Float32 = 10, 4;
    /// 64-bit floating point.
    Float64 = 11, 8;
    /// Truth value in a byte.
    Bool = 12, 1;
    /// 8-bit floating point, 4 bits of exponent.
    Float8E4m3 = 13, 1;
    /// 8-bit floating point, 5 bits of exponent.
    Float8E5m2 = 14, 1;
    /// Two 32-bit floating points.
    Complex64 = 15, 8;
    /// Two 64-bit floating points.
    Complex128 = 16, 16;
}

impl DataType {
    /// Its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }
}
