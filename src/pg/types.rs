//! SQL types that pgrx has no Rust type for. Each is only handed on, not looked into here.

use pgrx::callconv::{Arg, ArgAbi, BoxRet, FcInfo};
use pgrx::datum::Datum;
use pgrx::nullable::Nullable;
use pgrx::pgrx_sql_entity_graph::metadata::{
    ArgumentError, ReturnsError, ReturnsRef, SqlMappingRef, SqlTranslatable, TypeOrigin,
};
use pgrx::prelude::*;

/// A relation, by its OID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Regclass(pub pg_sys::Oid);

/// A jsonb value as the server holds it (see `jsonb`): pgrx's own `JsonB` parses the whole document, twice.
#[derive(Debug, Clone, Copy)]
pub struct RawJsonb(pg_sys::Datum);

impl Regclass {
    #[allow(unsafe_code)]
    fn from_raw(datum: pg_sys::Datum) -> Self {
        // SAFETY: an OID is passed by value.
        Self(unsafe { pg_sys::Oid::from_datum(datum, false) }.unwrap_or(pg_sys::InvalidOid))
    }

    fn raw(self) -> pg_sys::Datum {
        pg_sys::Datum::from(self.0)
    }
}

impl RawJsonb {
    fn from_raw(datum: pg_sys::Datum) -> Self {
        Self(datum)
    }

    fn raw(self) -> pg_sys::Datum {
        self.0
    }

    pub fn pointer(self) -> *mut pg_sys::varlena {
        self.0.cast_mut_ptr()
    }
}

macro_rules! sql_type {
    ($type:ty, $oid:expr, $sql:literal) => {
        impl FromDatum for $type {
            #[allow(unsafe_code)]
            unsafe fn from_polymorphic_datum(
                datum: pg_sys::Datum,
                is_null: bool,
                _type: pg_sys::Oid,
            ) -> Option<Self> {
                (!is_null).then(|| Self::from_raw(datum))
            }
        }

        impl IntoDatum for $type {
            fn into_datum(self) -> Option<pg_sys::Datum> {
                Some(self.raw())
            }

            fn type_oid() -> pg_sys::Oid {
                $oid
            }
        }

        // SAFETY: the SQL type named here is the one whose OID `IntoDatum` gives.
        #[allow(unsafe_code)]
        unsafe impl SqlTranslatable for $type {
            const TYPE_IDENT: &'static str = pgrx::pgrx_resolved_type!($type);
            const TYPE_ORIGIN: TypeOrigin = TypeOrigin::External;
            const ARGUMENT_SQL: std::result::Result<SqlMappingRef, ArgumentError> =
                Ok(SqlMappingRef::literal($sql));
            const RETURN_SQL: std::result::Result<ReturnsRef, ReturnsError> =
                Ok(ReturnsRef::One(SqlMappingRef::literal($sql)));
        }

        // SAFETY: the datum of the argument is taken as it came, which is what `from_raw` expects.
        #[allow(unsafe_code)]
        unsafe impl<'fcx> ArgAbi<'fcx> for $type {
            unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
                // A NULL cannot come here: pgrx makes a function with a bare argument STRICT.
                let datum = unsafe { arg.unbox_arg_using_from_datum::<Self>() };
                datum.unwrap_or_else(|| Self::from_raw(pg_sys::Datum::null()))
            }

            unsafe fn unbox_nullable_arg(arg: Arg<'_, 'fcx>) -> Nullable<Self> {
                unsafe { arg.unbox_arg_using_from_datum::<Self>() }.into()
            }
        }

        // SAFETY: the datum is one of the function's SQL return type.
        #[allow(unsafe_code)]
        unsafe impl BoxRet for $type {
            unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
                unsafe { fcinfo.return_raw_datum(self.raw()) }
            }
        }
    };
}

sql_type!(Regclass, pg_sys::REGCLASSOID, "regclass");
sql_type!(RawJsonb, pg_sys::JSONBOID, "jsonb");
