//! Secrets that certificates are made for: ECDSA over P-256.

use rcgen::{PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm, SigningKey};
use ring::digest::{SHA256, digest};
use ring::error::Unspecified;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;

/// What a PEM file calls it.
const LABEL: &str = "PRIVATE KEY";
/// Longest identifier that a certificate may have.
const IDENTIFIER_BYTES: usize = 20;

/// A key pair.
pub(super) struct Key {
    pair: EcdsaKeyPair,
    pkcs8: Vec<u8>,
}

impl Key {
    /// A new one, of the operating system's randomness: no secret may come from a seed.
    pub(super) fn generate() -> Result<Key, String> {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new());
        let pkcs8 = pkcs8.map_err(|Unspecified| "the operating system gives no randomness".to_owned())?;
        Key::of(pkcs8.as_ref().to_vec())
    }

    pub(super) fn from_pem(text: &str) -> Result<Key, String> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes());
        Key::of(der.map_err(|error| format!("not a key: {error}"))?.secret_pkcs8_der().to_vec())
    }

    pub(super) fn to_pem(&self) -> String {
        pem::encode(&pem::Pem::new(LABEL, self.pkcs8.clone()))
    }

    /// Bytes that tell it from all others, as a positive number.
    pub(super) fn identifier(&self) -> Vec<u8> {
        let mut bytes = digest(&SHA256, self.pair.public_key().as_ref()).as_ref()[..IDENTIFIER_BYTES].to_vec();
        bytes[0] = bytes[0] & 0x3f | 0x40;
        bytes
    }

    fn of(pkcs8: Vec<u8>) -> Result<Key, String> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &pkcs8, &SystemRandom::new());
        let pair = pair.map_err(|error| format!("not a key of ECDSA over P-256: {error}"))?;
        Ok(Key { pair, pkcs8 })
    }
}

impl PublicKeyData for Key {
    fn der_bytes(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl SigningKey for Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signature = self.pair.sign(&SystemRandom::new(), message);
        Ok(signature.map_err(|Unspecified| rcgen::Error::RemoteKeyError)?.as_ref().to_vec())
    }
}
