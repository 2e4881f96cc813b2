// Judges documents by a JSON Schema with AJV in strict mode: {schema, documents} on stdin, [valid, ...] on stdout.
import Ajv2020 from "ajv/dist/2020.js";

let text = "";
for await (const part of process.stdin) text += part;
const { schema, documents } = JSON.parse(text);
const validate = new Ajv2020({ strict: true, validateSchema: true }).compile(schema);
process.stdout.write(JSON.stringify(documents.map((one) => validate(one))));
