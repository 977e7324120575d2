/** The origin of the binding's own transactions in the document. */
export const LOCAL = Symbol('the canvas')
