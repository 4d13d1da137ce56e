/// A text with signatures under it.
///
/// Source: C2SP, signed-note, https://c2sp.org/signed-note.
struct SignedNote: Sendable, Hashable {
    struct Signature: Sendable, Hashable {
        /// The name of the key that it claims to be of.
        let keyName: String
        /// Four bytes that distinguish keys of one name.
        let keyID: [UInt8]
        let bytes: [UInt8]
    }

    /// Why a text isn't a note.
    struct Malformed: Error, CustomStringConvertible {
        let description: String
    }

    /// What is signed, its last line feed included.
    let text: String
    var signatures: [Signature]

    init(text: String, signatures: [Signature] = []) {
        self.text = text
        self.signatures = signatures
    }
}

extension SignedNote: CustomStringConvertible {
    /// The note with its signatures, as it is published.
    var description: String {
        "\(text)\n\(signatures.map(\.line).joined())"
    }
}

extension SignedNote.Signature {
    /// Whether both claim to be of one key.
    func isOfSameKey(as other: SignedNote.Signature) -> Bool {
        keyName == other.keyName && keyID == other.keyID
    }

    /// As it stands under the note, with its line feed.
    var line: String {
        "\u{2014} \(keyName) \(Data(keyID + bytes).base64EncodedString())\n"
    }
}

extension SignedNote {
    /// Reads notes that stand one after another, separated by empty lines. Their texts have no empty lines.
    static func notes(in contents: String) throws(Malformed) -> [SignedNote] {
        guard contents.unicodeScalars.allSatisfy({ $0 == "\n" || $0.value >= 0x20 }) else {
            throw Malformed(description: "it has control characters")
        }
        let paragraphs = contents.split(separator: "\n", omittingEmptySubsequences: false)
            .split(whereSeparator: \.isEmpty)
        guard paragraphs.count.isMultiple(of: 2) else {
            throw Malformed(description: "a text without signatures, or signatures without a text")
        }
        var notes: [SignedNote] = []
        for index in stride(from: 0, to: paragraphs.count, by: 2) {
            let text = paragraphs[index].map { $0 + "\n" }.joined()
            var note = SignedNote(text: text)
            for line in paragraphs[index + 1] { note.signatures.append(try Signature(line)) }
            notes.append(note)
        }
        return notes
    }
}

extension SignedNote.Signature {
    fileprivate init(_ line: Substring) throws(SignedNote.Malformed) {
        // By scalars, as other programs do: a mark that combines with a space is no space to Swift.
        let parts = line.unicodeScalars.split(separator: " ", omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 3, parts[0] == "\u{2014}", !parts[1].isEmpty,
            let data = Data(base64Encoded: parts[2]), data.count > 4,
            // One text for each signature: unused bits of the last character are zero.
            data.base64EncodedString() == parts[2]
        else { throw SignedNote.Malformed(description: "a signature line is malformed") }
        keyName = parts[1]
        keyID = Array(data.prefix(4))
        bytes = Array(data.dropFirst(4))
    }
}
