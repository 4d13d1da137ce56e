import Crypto

extension Certificate {
    /// One page that shows the certificate and verifies it in any browser, without anything from elsewhere: its
    /// content security policy allows nothing but its own script and style.
    ///
    /// - Parameter publicKey: the verifier key of the checkpoint, which the page tells its reader to compare.
    public func page(publicKey: String) -> String {
        Self.page(id: row[.id] ?? "", key: publicKey, json: json.text)
    }

    private static func page(id: String, key: String, json: String) -> String {
        // One script, since a page by itself has nothing to import from.
        let verify = file("verify.js").replacing("\nexport ", with: "\n")
        let script = verify + file("certificate.js")
        let style = file("certificate.css")
        let parts = [
            "style-hash": hash(style), "script-hash": hash(script), "id": escaped(id), "key": escaped(key),
            "style": style, "certificate": block(json), "script": script,
        ]
        // All at once: what is disclosed could look like the place of another part.
        return file("certificate.html").replacing(/\{([a-z-]+)\}/) { match in
            parts[String(match.1)] ?? String(match.0)
        }
    }

    private static func file(_ name: String) -> String {
        EmbeddedText.files["Sources/AuditTrail/CertificatePage/\(name)"] ?? ""
    }

    /// Source: W3C, Content Security Policy Level 3, section 2.3.1, hash-source.
    private static func hash(_ text: String) -> String {
        Data(SHA256.hash(data: Array(text.utf8))).base64EncodedString()
    }

    private static func escaped(_ text: String) -> String {
        text.replacing("&", with: "&amp;").replacing("<", with: "&lt;").replacing("\"", with: "&quot;")
    }

    /// JSON that can't end the element that it stands in.
    private static func block(_ json: String) -> String {
        json.replacing("<", with: "\\u003c")
    }
}

// MARK: - Reading

/// A page as it is taken apart: its parts, which end with the next "<" each, and the frame, which is the same in all pages of
/// one version of this program.
private struct CertificatePageParts {
    private static let markers = [
        "<title>Certificate ",
        "<textarea id=\"key\" rows=\"2\" spellcheck=\"false\" autocomplete=\"off\" aria-labelledby=\"key-title\">",
        "<script type=\"application/json\" id=\"certificate\">",
    ]

    let id: String
    let key: String
    let json: [UInt8]
    /// SHA-256, in hex, of the page with `{}` in place of each part.
    let frame: String

    /// By bytes, as other programs look for them: to Swift, a mark that combines with ">" makes it another character.
    init?(_ page: [UInt8]) {
        var rest = page[...]
        var frame: [UInt8] = []
        var parts: [[UInt8]] = []
        for marker in Self.markers {
            guard let start = rest.firstRange(of: Array(marker.utf8))?.upperBound,
                let end = rest[start...].firstIndex(of: UInt8(ascii: "<"))
            else { return nil }
            frame += rest[..<start] + "{}".utf8
            parts.append(Array(rest[start..<end]))
            rest = rest[end...]
        }
        (id, key) = (String(decoding: parts[0], as: UTF8.self), String(decoding: parts[1], as: UTF8.self))
        json = parts[2]
        self.frame = Array(SHA256.hash(data: frame + rest)).hex
    }
}

extension Certificate {
    /// The frames of pages that were made by released versions of this program, this one's aside. Pages outlive versions.
    private static let earlierFrames: Set<String> = []

    /// The frame of the pages that this version makes: docs/audit-chain.md has it, and scripts/verify-audit.py.
    static let pageFrame = CertificatePageParts(Array(page(id: "", key: "", json: "").utf8))?.frame

    /// The certificate in a page that ``page(publicKey:)`` made, and the id that the page's title says; of any other text,
    /// the text.
    ///
    /// A page can hide another certificate than is found here, and show that, in more ways than can be listed. So it isn't
    /// read unless it is, but for its parts, byte for byte what this program makes.
    static func json(in text: String) throws(Malformed) -> (json: [UInt8], id: String?) {
        let page = Array(text.utf8)
        guard page.starts(with: "<!doctype html>".utf8) else { return (page, nil) }
        guard let parts = CertificatePageParts(page), parts.frame == pageFrame || earlierFrames.contains(parts.frame)
        else {
            throw Malformed(
                description: """
                    the page isn't one that this program makes, so it can show something else than it holds; only the JSON \
                    in it can be verified, as a file of its own
                    """)
        }
        let key = parts.key.replacing("&quot;", with: "\"").replacing("&lt;", with: "<").replacing("&amp;", with: "&")
        guard escaped(key) == parts.key, (try? NoteVerifier(key))?.text == key else {
            throw Malformed(description: "the key in the page isn't one")
        }
        return (parts.json, parts.id)
    }
}
