//! Requests that clients send to the bucket themselves, signed here.
//!
//! The server cannot take one back, so an object outlives the last request that was signed for it: from the moment at which its
//! row stops to name it, it is left alone for as long as any such request lasts, whoever signed it. That is noted with the doubt
//! about it, so it holds over restarts too. What somebody stores late, into an allocation that has ended, goes in the same way.

use payload_core::port::{Left, Placed, SignedRead, SignedRequest};
use payload_core::{Error, Location, ObjectId, Reason, Result, Span};

use super::{ObjectTier, key, object_of};

/// No request is signed for less: stores count in seconds.
const LEAST: Span = Span::from_secs(1);

/// A request counts as sent in time when it begins in time, and this is how long the bytes of one may take to come.
const SLOWEST: Span = Span::from_secs(3_600);

impl ObjectTier {
    /// An object that does not exist yet, for somebody else to store. Whatever comes of it before a row names it, the sweep frees.
    pub(super) fn reserve_object(&self, size: u64) -> Result<Placed> {
        self.check_signs()?;
        let id = self.ids.object();
        let hold = self.budget.take(size)?;
        let claim = self.doubts.claim_for_another(id, self.wait_for(Left::Writer))?;
        hold.keep();
        self.doubts.charge(id, size);
        Ok(Placed {
            location: Location::Object(id),
            charged: size,
            claim,
        })
    }

    /// Whether somebody has stored the bytes, and nothing but these.
    pub(super) fn check_filled(&self, location: &Location, size: u64) -> Result<()> {
        let id = object_of(location)?;
        match self.bucket.call(|bucket| bucket.stat(&key(id)))? {
            Some(stat) if stat.size == size => Ok(()),
            Some(stat) => {
                let message = format!("{} bytes were stored, and {size} are to be committed", stat.size);
                Err(Error::invalid(Reason::BadSize, message).field("size"))
            }
            None => Err(Error::new(
                Reason::NotUploaded,
                "nothing was stored at the URL that the allocation came with",
            )),
        }
    }

    /// The bucket is asked before anybody gets the request: nobody is to find out by himself that the object is gone. Signing comes
    /// first all the same, because the request's time counts from there, and the answer may be long in coming.
    pub(super) fn signed_read(&self, location: &Location, size: u64, valid: Span) -> Result<SignedRead> {
        let (id, valid) = (object_of(location)?, self.term(valid)?);
        let start = location.offset();
        let range = location.is_shared().then_some(start..start + size);
        let request = self.bucket.beside(|bucket| bucket.sign_get(&key(id), range, valid))?;
        let etag = self.look(location, size)?.etag;
        Ok(SignedRead { request, etag })
    }

    pub(super) fn signed_write(&self, location: &Location, size: u64, valid: Span) -> Result<SignedRequest> {
        let (id, valid) = (object_of(location)?, self.term(valid)?);
        self.bucket.beside(|bucket| bucket.sign_put(&key(id), size, valid))
    }

    /// How long an object is left alone that no row names any more.
    pub(super) fn wait_for(&self, left: Left) -> Span {
        match left {
            _ if self.url_term.is_zero() => Span::ZERO,
            Left::Readers => self.url_term,
            Left::Writer => self.url_term + SLOWEST,
        }
    }

    /// The bytes have been freed, and may be read for a while: the sweep is told again when that is over. What was stored into an
    /// allocation that has ended is read by nobody: it goes now, and what comes later goes then.
    pub(super) fn leave_alone(&self, id: ObjectId) -> Result<()> {
        if self.doubts.is_to_be_emptied(id) {
            self.bucket.call(|bucket| bucket.remove(&[key(id)]))?;
            self.doubts.emptied(id);
        }
        Ok(())
    }

    fn term(&self, valid: Span) -> Result<Span> {
        self.check_signs()?;
        let valid = valid.min(self.url_term);
        if valid < LEAST {
            return Err(Error::invalid(Reason::BadDuration, "a URL lasts for a second at least"));
        }
        Ok(valid)
    }

    fn check_signs(&self) -> Result<()> {
        if self.url_term.is_zero() {
            let message = "this server gives out no URLs of its bucket: tiers.object.url_term is zero";
            return Err(Error::new(Reason::ObjectUrlsUnsupported, message));
        }
        Ok(())
    }
}
