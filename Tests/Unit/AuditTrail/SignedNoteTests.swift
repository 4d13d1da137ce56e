import Foundation
import Testing

@testable import AuditTrail

/// Source of the keys and the note: documentation of golang.org/x/mod/sumdb/note.
@Suite("Signed notes")
struct SignedNoteTests {
    private let signerKey = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
    private let verifierKey = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    private let text = """
        If you think cryptography is the answer to your problem,
        then you don't know what your problem is.

        """
    private let signature =
        "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="

    private var note: String { "\(text)\n— PeterNeumann \(signature)\n" }

    @Test("a key of sumdb/note signs as sumdb/note does")
    func signsAsOthersDo() throws {
        let signer = try NoteSigner(signerKey + "\n", pemName: "unused")
        #expect(signer.name == "PeterNeumann")
        #expect(signer.text == signerKey)
        #expect(signer.verifier.text == verifierKey)
        // Ed25519 is deterministic, but CryptoKit of macOS adds randomness.
        #if os(Linux)
            #expect(try signer.sign(text).description == note)
        #endif
        #expect(answer(try signer.sign(text), verifierKey) == .valid)
    }

    @Test("a note of sumdb/note is verified; one that was changed or signed with another key isn't")
    func verifies() throws {
        let notes = try SignedNote.notes(in: note)
        #expect(notes.count == 1)
        #expect(notes[0].description == note)
        #expect(answer(notes[0], verifierKey) == .valid)
        let changed = try SignedNote.notes(in: note.replacingOccurrences(of: "answer", with: "solution"))
        #expect(answer(changed[0], verifierKey) == .invalid)
        let other = try #require(NoteSigner(generating: "PeterNeumann")?.verifier.text)
        #expect(answer(notes[0], other) == .unknown)
    }

    @Test("signatures of others under a note don't matter")
    func severalSignatures() throws {
        let signer = try #require(NoteSigner(generating: "EnochRoot"))
        let other = try signer.sign(text).signatures
        var twice = try SignedNote.notes(in: note)[0]
        twice.signatures += other
        #expect(answer(twice, verifierKey) == .valid)
        #expect(answer(twice, try #require(signer.verifier.text)) == .valid)
        #expect(try SignedNote.notes(in: twice.description + "\n" + note).count == 2)
    }

    @Test(
        "what isn't a note is refused",
        arguments: [
            "text\n", "text\n\nno dash\n", "text\n\n— name\n", "text\n\n— name !!!\n", "text\n\n— name AAAA\n",
            "text\r\n\n— name AAAAAAAA\n", "a\n\n— n AAAAAAAA\n\nb\n",
        ])
    func malformed(contents: String) {
        #expect(throws: SignedNote.Malformed.self) { try SignedNote.notes(in: contents) }
    }

    /// Made with `openssl genpkey -algorithm ed25519` and `openssl pkey -pubout`; the seed is that of RFC 8032, 7.1.
    @Test("keys in PEM as OpenSSL writes them are read")
    func pem() throws {
        let seed = try #require([UInt8](hex: "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"))
        let key = try #require([UInt8](hex: "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"))
        let prefix: [UInt8] = try #require([UInt8](hex: "302e020100300506032b657004220420"))
        let privateBody = Data(prefix + seed).base64EncodedString()
        let pem = "-----BEGIN PRIVATE KEY-----\n\(privateBody)\n-----END PRIVATE KEY-----\n"
        let publicPrefix = try #require([UInt8](hex: "302a300506032b6570032100"))
        let body = Data(publicPrefix + key).base64EncodedString()
        let publicPEM = "-----BEGIN PUBLIC KEY-----\n\(body)\n-----END PUBLIC KEY-----\n"
        let signer = try NoteSigner(pem, pemName: "example.com/trail")
        #expect(signer.name == "example.com/trail")
        #expect(answer(try signer.sign("a\n"), publicPEM) == .valid)
        #expect(answer(try signer.sign("a\n"), verifierKey) == .unknown)
    }

    @Test("a checkpoint's size is a number that no sum of sizes overflows")
    func sizes() throws {
        let root = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
        #expect(try CheckpointBody("example.com/log\n9007199254740992\n\(root)\n").size == 1 << 53)
        for size in ["9007199254740993", "9223372036854775807", "99999999999999999999", "-1", "01", "+1", ""] {
            #expect(throws: SignedNote.Malformed.self, "\(size)") {
                try CheckpointBody("example.com/log\n\(size)\n\(root)\n")
            }
        }
    }

    @Test("what isn't a key is refused, also one whose id is another's")
    func badKeys() throws {
        let bad = [
            "", "hello", "PRIVATE+KEY+a+b", signerKey.replacingOccurrences(of: "c74f20a3", with: "c74f20a4"),
            signerKey.replacingOccurrences(of: "PeterNeumann", with: "Peter Neumann"), verifierKey,
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
            // Of X25519, which is for key agreement, as `openssl genpkey -algorithm x25519` writes it.
            """
            -----BEGIN PRIVATE KEY-----
            MC4CAQAwBQYDK2VuBCIEIHcHbQpzGKV9PBbBclGyZkXfTC+H68CZKrF3+6UduSwq
            -----END PRIVATE KEY-----
            """,
        ]
        for contents in bad {
            #expect(throws: NoteKey.Malformed.self, "\(contents)") { try NoteSigner(contents, pemName: "a") }
        }
        let renamed = verifierKey.replacingOccurrences(of: "N", with: "M")
        for contents in ["", "a+b+c", verifierKey + "A", renamed, signerKey] {
            #expect(throws: NoteKey.Malformed.self, "\(contents)") { try NoteVerifier(contents) }
        }
        for name in ["", "a b", "a+b", "a\nb", String(repeating: "a", count: 201)] {
            #expect(NoteSigner(generating: name) == nil)
        }
    }

    private enum Answer { case valid, invalid, unknown }

    private func answer(_ note: SignedNote, _ key: String) -> Answer? {
        guard let verifier = try? NoteVerifier(key) else { return nil }
        switch verifier.verifies(note) {
        case true: return .valid
        case false: return .invalid
        default: return .unknown
        }
    }
}
