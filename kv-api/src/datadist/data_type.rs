//! Types of tensor elements, numbered as in the Ascend graph engine (`ge::DataType`).

macro_rules! data_types {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $bits:literal;)*) => {
        /// What a tensor is made of.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(i32)]
        pub enum DataType {
            $($(#[$doc])* $name = $number,)*
        }

        impl DataType {
            /// Every type.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Bits of one element; `None` for a type without a size. Elements of less than a byte are packed.
            #[must_use]
            pub const fn bits(self) -> Option<u64> {
                match self {
                    $(Self::$name => if $bits == 0 { None } else { Some($bits) },)*
                }
            }
        }
    };
}

data_types! {
    /// 32-bit floating point.
    Float = 0, 32;
    /// 16-bit floating point.
    Float16 = 1, 16;
    /// Signed byte.
    Int8 = 2, 8;
    /// Signed, 32 bits.
    Int32 = 3, 32;
    /// Byte.
    Uint8 = 4, 8;
    /// Signed, 16 bits.
    Int16 = 6, 16;
    /// Unsigned, 16 bits.
    Uint16 = 7, 16;
    /// Unsigned, 32 bits.
    Uint32 = 8, 32;
    /// Signed, 64 bits.
    Int64 = 9, 64;
    /// Unsigned, 64 bits.
    Uint64 = 10, 64;
    /// 64-bit floating point.
    Double = 11, 64;
    /// Truth value in a byte.
    Bool = 12, 8;
    /// Text by reference: two words.
    String = 13, 128;
    /// First of a dual output.
    DualSubInt8 = 14, 8;
    /// Second of a dual output.
    DualSubUint8 = 15, 8;
    /// Two 32-bit floating points.
    Complex64 = 16, 64;
    /// Two 64-bit floating points.
    Complex128 = 17, 128;
    /// Quantised signed byte.
    QuantisedInt8 = 18, 8;
    /// Quantised signed, 16 bits.
    QuantisedInt16 = 19, 16;
    /// Quantised signed, 32 bits.
    QuantisedInt32 = 20, 32;
    /// Quantised byte.
    QuantisedUint8 = 21, 8;
    /// Quantised unsigned, 16 bits.
    QuantisedUint16 = 22, 16;
    /// A handle.
    Resource = 23, 64;
    /// A reference to text: two words.
    StringReference = 24, 128;
    /// Floating point and byte.
    Dual = 25, 40;
    /// A handle to anything.
    Variant = 26, 64;
    /// 16-bit brain floating point.
    Bfloat16 = 27, 16;
    /// Not set.
    Undefined = 28, 0;
    /// Signed, 4 bits.
    Int4 = 29, 4;
    /// One bit.
    Uint1 = 30, 1;
    /// Signed, 2 bits.
    Int2 = 31, 2;
    /// Unsigned, 2 bits.
    Uint2 = 32, 2;
    /// Two 16-bit floating points.
    Complex32 = 33, 32;
    /// 8-bit floating point of Ascend.
    Hifloat8 = 34, 8;
    /// 8-bit floating point, 5 bits of exponent.
    Float8E5m2 = 35, 8;
    /// 8-bit floating point, 4 bits of exponent.
    Float8E4m3fn = 36, 8;
    /// 8 bits of exponent.
    Float8E8m0 = 37, 8;
    /// 6-bit floating point, 3 bits of exponent.
    Float6E3m2 = 38, 6;
    /// 6-bit floating point, 2 bits of exponent.
    Float6E2m3 = 39, 6;
    /// 4-bit floating point, 2 bits of exponent.
    Float4E2m1 = 40, 4;
    /// 4-bit floating point, 1 bit of exponent.
    Float4E1m2 = 41, 4;
}

impl DataType {
    /// Its number.
    #[must_use]
    pub const fn number(self) -> i32 {
        self as i32
    }

    /// The type of a number.
    #[must_use]
    pub fn from_number(number: i32) -> Option<Self> {
        Self::ALL.iter().copied().find(|data_type| data_type.number() == number)
    }
}
