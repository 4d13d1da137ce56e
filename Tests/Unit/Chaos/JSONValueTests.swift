import ChaosJudge
import Testing

@Suite("JSON that is read")
struct JSONValueTests {
    @Test(
        "is written as it was",
        arguments: [
            #"{"b":1.50,"a":[null,true,false,-1e9,"x"],"":{}}"#, #""\"\\\n\u0001é😀""#, "[]", "9999999999999999.90",
        ])
    func roundTrip(text: String) throws {
        #expect(try #require(JSONValue(text)).text == text)
    }

    @Test("may hold white space and escapes")
    func escapes() {
        #expect(JSONValue(#" { "a" : [ 1 , "😀\/" ] } "#)?.text == #"{"a":[1,"😀/"]}"#)
    }

    @Test("is nothing when it is none", arguments: ["", "{", "[1,]", "{\"a\"}", "\"x", "tru", "1 2", "{}{}"])
    func malformed(text: String) {
        #expect(JSONValue(text) == nil)
    }
}
