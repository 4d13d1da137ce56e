/// Which customers a list shows.
public struct CustomerSearch: Sendable, Hashable {
    public var status: CustomerStatus?
    /// A substring of the first name, the last name, or both with a space between.
    public var name: String?
    /// A substring of the email address.
    public var email: String?
    public var page: Page

    public init(status: CustomerStatus?, name: String?, email: String?, page: Page) {
        self.status = status
        self.name = name
        self.email = email
        self.page = page
    }

    /// Without text to look for, the list is a range of an index; with it, all matches are to be gathered first.
    var looksForText: Bool {
        name != nil || email != nil
    }
}
