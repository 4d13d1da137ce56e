/// What was done, when and by whom, with the proof that it stands in a signed chain. Anyone with the public key of the
/// checkpoints verifies it offline. It holds personal data only where these were disclosed.
///
/// Source: docs/audit-chain.md, "Certificates".
public struct Certificate: Sendable, Hashable {
    /// The parts of an entry that only their commitments show unless they are disclosed.
    public enum Part: String, CaseIterable, Sendable, Hashable {
        /// What may be about the person.
        case subject
        /// Where the attempt came from.
        case context

        /// Reads names that are separated by commas, each once; nil for any other text.
        public static func set(_ text: String) -> Set<Part>? {
            var parts: Set<Part> = []
            for name in text.split(separator: ",", omittingEmptySubsequences: false) {
                guard let part = Part(rawValue: String(name)), parts.insert(part).inserted else { return nil }
            }
            return parts
        }

        fileprivate var members: [ChainRow.Column] { form.columns }
        fileprivate var form: CanonicalForm.Members { self == .subject ? CanonicalForm.subject : CanonicalForm.context }
        fileprivate var salt: ChainRow.Column { self == .subject ? .subjectSalt : .contextSalt }
        fileprivate var commitment: ChainRow.Column { self == .subject ? .subjectCommitment : .contextCommitment }
    }

    /// The columns that are always shown.
    private static let columns = CanonicalForm.entry.columns
    private static let hashes: [ChainRow.Column] = [.previousHash, .hash, .subjectCommitment, .contextCommitment]
    private static let format = "customerd-certificate-v1"

    /// The entry without what isn't disclosed.
    let row: ChainRow
    let disclosed: Set<Part>
    let proof: InclusionProof

    /// - Parameter disclosed: the parts to show. One that was erased can't be shown and is left out.
    init(_ entry: ChainRow, disclosing disclosed: Set<Part>, proof: InclusionProof) {
        var row = entry
        self.disclosed = disclosed.filter { entry[$0.salt] != nil }
        for part in Part.allCases where !self.disclosed.contains(part) {
            for column in part.members + [part.salt] { row[column] = nil }
        }
        self.row = row
        self.proof = proof
    }
}

// MARK: - Text

extension Certificate {
    /// In one line.
    public var json: JSON {
        .object(
            [.init(name: "format", value: .string(Self.format))]
                + [.init(name: "entry", value: .object(Self.columns.map { ExportLine.member($0, of: row) }))]
                + Self.hashes.map { ExportLine.member($0, of: row) }
                + [.init(name: "disclosed", value: .object(Part.allCases.filter(disclosed.contains).map(disclosure)))]
                + [.init(name: "proof", value: .string(proof.text))])
    }

    private func disclosure(of part: Part) -> JSON.Member {
        let salt = JSON.Member(name: "salt", value: .string(row[part.salt]))
        let members = part.members.map { ExportLine.member($0, of: row) }
        return .init(name: part.rawValue, value: .object([salt] + members))
    }

    /// Why a text isn't a certificate.
    public struct Malformed: Error, CustomStringConvertible {
        public let description: String
    }

    /// Reads a certificate, or the one in a page, strictly: each member once, and no other, so that it shows nothing that
    /// isn't proven.
    public init(_ text: String) throws(Malformed) {
        do {
            let (json, id) = try Self.json(in: text)
            guard case .object(let all) = try JSONReader.value(of: json) else {
                throw Malformed(description: "it isn't an object")
            }
            var members = try Self.byName(all)
            guard members.removeValue(forKey: "format") == .string(Self.format),
                case .object(let entry)? = members.removeValue(forKey: "entry"),
                case .object(let parts)? = members.removeValue(forKey: "disclosed"),
                case .string(let proof)? = members.removeValue(forKey: "proof")
            else { throw Malformed(description: "it isn't a \(Self.format)") }
            var row = ChainRow()
            try Self.read(try Self.byName(entry), Self.columns, into: &row)
            try Self.read(members, Self.hashes, into: &row)
            guard row[.seq] != nil, row[.appID] != nil else { throw Malformed(description: "seq or app_id is null") }
            guard id == nil || id == row[.id] else { throw Malformed(description: "the page has the title of another") }
            var disclosed: Set<Part> = []
            for (name, value) in try Self.byName(parts) {
                guard let part = Part(rawValue: name), case .object(let disclosure) = value else {
                    throw Malformed(description: "its disclosed parts are malformed")
                }
                var members = try Self.byName(disclosure)
                guard case .string(let salt)? = members.removeValue(forKey: "salt")
                else { throw Malformed(description: "its disclosed parts are malformed") }
                row[part.salt] = salt
                try Self.read(members, part.members, into: &row)
                disclosed.insert(part)
            }
            (self.row, self.disclosed, self.proof) = (row, disclosed, try InclusionProof(proof))
        } catch let error as Malformed {
            throw error
        } catch let error as ExportLine.Malformed {
            throw Malformed(description: error.reason)
        } catch let error as JSONReader.Malformed {
            throw Malformed(description: "\(error.reason), at byte \(error.byte)")
        } catch {
            throw Malformed(description: "\(error)")
        }
    }

    private static func byName(_ members: [JSONReader.Member]) throws(Malformed) -> [String: JSONReader.Value] {
        let values = Dictionary(members.map { ($0.name, $0.value) }) { first, _ in first }
        // Names of other bytes can be the same to Swift; none of them is a name that is known.
        guard values.count == members.count else { throw Malformed(description: "unknown or missing members") }
        return values
    }

    private static func read(
        _ members: [String: JSONReader.Value], _ columns: [ChainRow.Column], into row: inout ChainRow
    ) throws {
        guard Set(members.keys) == Set(columns.map(\.rawValue)) else {
            throw Malformed(description: "unknown or missing members")
        }
        for column in columns {
            row[column] = try members[column.rawValue].flatMap { try ExportLine.text(of: $0, in: column) }
        }
    }
}

// MARK: - Verification

extension Certificate {
    /// The chain and the entry that it is about.
    public var place: (appID: String, seq: Int) { (row[.appID] ?? "", row[.seq].flatMap { Int($0) } ?? 0) }

    /// What is proven by a certificate that is valid, so that no one takes it for one of something else.
    public struct Summary: Sendable, Hashable {
        public let entry, app, action, outcome: String
        public let seq: Int
        /// nil if the entry is about none.
        public let customer: String?
        /// How many entries the checkpoint covers.
        public let size: Int
        /// The name of the key that signed it.
        public let signer: String

        public var json: JSON {
            [
                "entry": .string(entry), "seq": .int(seq), "app_id": .string(app), "action": .string(action),
                "outcome": .string(outcome), "customer_id": .string(customer), "checkpoint_size": .int(size),
                "signed_by": .string(signer),
            ]
        }
    }

    /// What it says; only worth something if it is valid.
    public var summary: Summary {
        Summary(
            entry: row[.id] ?? "", app: place.appID, action: row[.action] ?? "", outcome: row[.outcome] ?? "",
            seq: place.seq, customer: row[.customerID], size: proof.checkpoint.head.size,
            signer: proof.checkpoint.keyName)
    }

    /// What a verification says, of the one entry.
    public func verdict(_ verifier: NoteVerifier, witnesses: [WitnessKey] = []) -> ChainVerdict {
        var verdict = ChainVerdict()
        verdict.entries = 1
        verdict.chains = 1
        let fault = fault(verifier, witnesses: witnesses)
        verdict.verified = fault == nil ? 1 : 0
        verdict.broken = fault.map { .init(appID: place.appID, seq: place.seq, reason: $0) }
        return verdict
    }

    /// Why it doesn't prove what it says; nil if it does.
    ///
    /// - Parameters:
    ///   - verifier: the key that signed the checkpoint, known from elsewhere.
    ///   - witnesses: all that must have cosigned it.
    public func fault(_ verifier: NoteVerifier, witnesses: [WitnessKey] = []) -> String? {
        guard let hash = row.bytes(.hash), ChainEntry.hash(of: row) == hash else {
            return "its hash doesn't match its members"
        }
        for part in Part.allCases
        where disclosed.contains(part)
            && !ChainEntry.commits(row, part.commitment, to: part.form, under: part.salt)
        {
            return "the disclosed \(part.rawValue) doesn't match its commitment"
        }
        let (app, seq) = place
        return proof.fault(seq: seq, app: app, hash: hash) ?? proof.checkpoint.fault(verifier, witnesses)
    }
}

extension ChainVerdict {
    /// What is said of a certificate that can't be read.
    public static func unreadableCertificate(_ error: Certificate.Malformed) -> ChainVerdict {
        var verdict = ChainVerdict()
        verdict.broken = Break(appID: nil, seq: nil, reason: "the certificate is invalid: \(error)")
        return verdict
    }
}
