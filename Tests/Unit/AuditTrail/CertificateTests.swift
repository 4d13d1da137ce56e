import Foundation
import TestSupport
import Testing

@testable import AuditTrail

/// Certificates that Swift and Python have to judge alike: what is valid, what isn't and why, and what isn't one at all.
@Suite("Certificates")
struct CertificateTests {
    private struct Vectors: Decodable {
        struct Case: Decodable {
            let about: String
            let replace: [[String]]?
            let around: String?
            let verdict: VerifierAnswer
        }

        static let path = projectFile("Tests/Unit/AuditTrail/certificate_vectors.json")

        let public_key: String
        let witness_key: String
        let certificate: String
        let cases: [Case]

        static func read() throws -> Vectors {
            try JSONDecoder().decode(Vectors.self, from: Data(contentsOf: URL(fileURLWithPath: path)))
        }

        /// By bytes: to Swift's `String`, a character with a mark on it is another one.
        func text(of vector: Case) -> String {
            let text = (vector.replace ?? []).reduce(certificate) {
                $0.replacingOccurrences(of: $1[0], with: $1[1], options: .literal)
            }
            return (vector.around ?? "{certificate}").replacingOccurrences(
                of: "{certificate}", with: text, options: .literal)
        }
    }

    @Test("each certificate of the shared vectors gets the verdict that stands there, of Swift and of Python")
    func vectors() async throws {
        let vectors = try Vectors.read()
        let verifier = try NoteVerifier(vectors.public_key)
        let witness = try WitnessKey(vectors.witness_key)
        for vector in vectors.cases {
            let text = vectors.text(of: vector)
            let verdict = ChainVerdict.of(text, verifier, [witness])
            let expected = vector.verdict
            let reason = verdict.fault?.reason
            #expect(verdict.entries == expected.entries && verdict.verified == expected.verified, "\(vector.about)")
            #expect(verdict.fault?.seq == expected.brokenAt, "\(vector.about)")
            #expect(verdict.fault?.appID == expected.brokenApp, "\(vector.about)")
            if let start = expected.reason, start.hasSuffix(": ") {
                #expect(reason?.hasPrefix(start) == true, "\(vector.about): \(reason ?? "valid")")
            } else {
                #expect(reason == expected.reason, "\(vector.about)")
            }
        }
        let summary = try Certificate(vectors.certificate).summary.json.text
        let file = try JSONSerialization.jsonObject(with: Data(contentsOf: URL(fileURLWithPath: Vectors.path)))
        let named = try #require((file as? [String: Any])?["summary"] as? NSDictionary)
        #expect(try JSONSerialization.jsonObject(with: Data(summary.utf8)) as? NSDictionary == named)
        let output = try await Program.succeed([
            "python3", "-B", projectFile("Tests/Unit/AuditTrail/certificate_vectors.py"),
            projectFile("scripts/verify-audit.py"), Vectors.path,
        ])
        #expect(output == "all of \(vectors.cases.count) vectors hold\n")
    }

    /// What stands in the page before, after and in its parts without belonging there, by what it replaces.
    private static let intrusions: [(old: String, new: String)] =
        [
            "<div id=\"certificate\">{}</div>", "<DIV ID=certificate>{}</DIV>", "<div id=\"&#99;ertificate\">{}</div>",
            "<template id=\"certificate\">{}</template>", "<textarea id=certificate>{}</textarea>", "<! x>", "<? x >",
            "</ x>",
            "<plaintext>", "<xmp>", "<style>", "<noscript>", "<iframe srcdoc=\"\"></iframe>", "<p>", " ", "\n",
        ].flatMap { [("<main>", "\($0)<main>"), ("<script type=\"application", "\($0)<script type=\"application")] } + [
            ("<!doctype html>\n", "<!doctype html>\n\n"), ("</html>\n", "</html>\n "),
            ("<title>Certificate ", "<title>certificate "),
            ("<title>Certificate 018f2c9e", "<title>Certificate 118f2c9e"), ("example.com/trail+9a12ec35+A", "Valid! "),
            ("example.com/trail+9a12ec35+A", "example.com/trail+9a12ec35+AA"),
            ("b03</title>", "b03</title><title>x</title>"),
            ("default-src 'none'", "default-src *"), ("</textarea>", "</textarea >"),
            ("verdict.dataset.state = isValid", "true"),
            ("{\"format\"", "<p>{\"format\""), ("{\"format\"", "{\"x\":1,\"format\""),
        ]

    @Test(
        "a page is read only if it is, but for its parts, the one that this program makes: in any other something may be hidden"
    )
    func pages() async throws {
        let vectors = try Vectors.read()
        let verifier = try NoteVerifier(vectors.public_key)
        let page = try Certificate(vectors.certificate).page(publicKey: vectors.public_key)
        #expect(ChainVerdict.of(page, verifier, []).fault == nil)
        let document = try String(contentsOfFile: projectFile("docs/audit-chain.md"), encoding: .utf8)
        #expect(
            document.contains("`\(Certificate.pageFrame ?? "")`"),
            "the page changed; list the earlier one if it was released")

        let place = try TemporaryDirectory()
        let script = ["python3", projectFile("scripts/verify-audit.py"), "certificate", place.path("page")]
        for (old, new) in [("", "")] + Self.intrusions {
            #expect(old.isEmpty || page.contains(old), "\(old)")
            let range = page.range(of: old) ?? page.startIndex..<page.startIndex
            let text = page.replacingCharacters(in: range, with: new)
            let isPage = old.isEmpty
            #expect((ChainVerdict.of(text, verifier, []).fault == nil) == isPage, "\(old): \(new)")
            try place.write("page", text)
            let python = try await Program.run(script + ["--public-key", vectors.public_key])
            #expect(python.status == (isPage ? 0 : 1), "\(old): \(new): \(python.output) \(python.errors)")
        }
    }

    @Test("both programs answer the same JSON, whatever is wrong")
    func commands() async throws {
        let vectors = try Vectors.read()
        let place = try TemporaryDirectory()
        let keys = ["--public-key", vectors.public_key, "--witness-key", vectors.witness_key]
        for vector in vectors.cases where vector.verdict.reason?.hasSuffix(": ") != true || vector.around != nil {
            let path = try place.write("certificate", vectors.text(of: vector))
            let swift = try await Customerd.run(["audit", "verify", "--json", "--certificate", path] + keys)
            let python = try await Program.run(
                ["python3", projectFile("scripts/verify-audit.py"), "certificate", path] + keys)
            #expect(swift.status == python.status, "\(vector.about)")
            if vector.verdict.entries == 1 {
                #expect(swift.output == python.output, "\(vector.about)")
            } else {
                #expect(try VerifierAnswer(python.output).isLike(VerifierAnswer(swift.output)), "\(vector.about)")
            }
        }
    }
}

extension ChainVerdict {
    fileprivate static func of(_ text: String, _ verifier: NoteVerifier, _ witnesses: [WitnessKey]) -> ChainVerdict {
        do throws(Certificate.Malformed) {
            return try Certificate(text).verdict(verifier, witnesses: witnesses)
        } catch {
            return .unreadableCertificate(error)
        }
    }
}
