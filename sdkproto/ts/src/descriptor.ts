import { createFileRegistry } from "@bufbuild/protobuf";
import { bootFileDescriptorProto, type GenFile } from "@bufbuild/protobuf/codegenv2";
import { protoCamelCase } from "@bufbuild/protobuf/reflect";
import type { DescriptorProto, MessageOptions } from "@bufbuild/protobuf/wkt";

/** "Name,field,…" with fields "name[number] type[?*][ type's name]"; nested messages; nested enums. */
type CompactMessage = [string, CompactMessage[]?, CompactEnum[]?];
/** "Name value…" with values "name[number]", the names without the prefix of the enum's. */
type CompactEnum = string;
/** Path, package, messages, enums. */
export type CompactFile = [string, string, CompactMessage[], CompactEnum[]];

type Boot = Parameters<typeof bootFileDescriptorProto>[0];

const LABEL_OPTIONAL = 1;
const LABEL_REPEATED = 3;

/** The descriptor that scripts/compact.mjs wrote into the generated code. */
export function compactFile([name, pkg, messages, enums]: CompactFile): GenFile {
  const enumOf = (packed: CompactEnum) => {
    const [name = "", ...values] = packed.split(" ");
    const prefix = name.replace(/([a-z])([A-Z])/g, "$1_$2").toUpperCase();
    const next = numbers(-1);
    return {
      name,
      value: values.map((v) => {
        const { name, number } = next(v);
        return { name: `${prefix}_${name}`, number };
      }),
    };
  };
  const messageOf = ([packed, nested = [], enums = []]: CompactMessage): Boot["messageType"][number] => {
    const [name = "", ...fields] = packed.split(",");
    const next = numbers(0);
    return {
      name,
      field: fields.map((f) => {
        const [said = "", type = "", typeName] = f.split(" ");
        const { name, number } = next(said);
        return {
          name,
          jsonName: protoCamelCase(name),
          number,
          type: Number.parseInt(type, 10),
          label: type.endsWith("*") ? LABEL_REPEATED : LABEL_OPTIONAL,
          ...(type.endsWith("?") ? { proto3Optional: true } : {}),
          ...(typeName === undefined ? {} : { typeName: `.${pkg}.${typeName}` }),
        };
      }),
      nestedType: nested.map(messageOf),
      enumType: enums.map(enumOf),
    };
  };
  const root = bootFileDescriptorProto({
    name,
    package: pkg,
    messageType: messages.map(messageOf),
    enumType: enums.map(enumOf),
  } as Boot);
  root.syntax = "proto3";
  root.messageType.forEach(markMaps);
  const file = createFileRegistry(root, () => undefined).getFile(name);
  if (!file) throw new Error(`footfall: no descriptor of ${name}`);
  return file;
}

/** Splits "name[number]"; without a number it is the one after the last. */
function numbers(last: number): (said: string) => { name: string; number: number } {
  return (said) => {
    const [name = "", number] = said.split(/(\d+)/);
    last = number === undefined ? last + 1 : Number(number);
    return { name, number: last };
  };
}

/** The entry of a map is a nested message that only the compiler names so. */
function markMaps(m: DescriptorProto): void {
  for (const n of m.nestedType) {
    if (n.name.endsWith("Entry"))
      n.options = { $typeName: "google.protobuf.MessageOptions", mapEntry: true } as MessageOptions;
    markMaps(n);
  }
}
