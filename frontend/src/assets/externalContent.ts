import {
  AssetRecordType,
  createShapesForAssets,
  type Editor,
  getMediaAssetInfoPartial,
  type TLAsset,
  type TLAssetId,
  type TLBookmarkAsset,
  type TLImageShape,
  type VecLike,
} from 'tldraw'
import { UploadFailed } from './assetStore'
import { NoPicture, pictureFrom } from './pictures'

const FILES_AT_ONCE_MAX = 20
const ASSET_ID = /^asset:[A-Za-z0-9_-]{1,64}$/

export interface Notices {
  /** Show that pictures are on their way; call the result when they no longer are. */
  busy(sentence: string): () => void
  failed(sentence: string): void
}

/**
 * Take over what is dropped and pasted, from tldraw's own handlers: pictures go to the server before they are on the board,
 * links stay text, and no other host is asked for anything.
 */
export function handleExternalContent(editor: Editor, notices: Notices): void {
  const place = (files: File[], point: VecLike | undefined) => placePictures(editor, notices, files, point)

  editor.registerExternalAssetHandler('file', ({ file, assetId }) => uploaded(editor, file, assetId))
  editor.registerExternalAssetHandler('url', async ({ url }) => bookmark(url))
  editor.registerExternalContentHandler('files', ({ files, point }) => place(files, point))
  editor.registerExternalContentHandler('svg-text', ({ text, point }) =>
    place([new File([text], 'drawing.svg', { type: 'image/svg+xml' })], point),
  )
  editor.registerExternalContentHandler('file-replace', ({ file, shapeId }) =>
    reporting(notices, async () => {
      const asset = await uploaded(editor, file)
      const shape = editor.getShape<TLImageShape>(shapeId)
      if (asset.type !== 'image' || shape?.type !== 'image') return
      const { w, h } = asset.props
      editor.createAssets([asset])
      editor.updateShapes([{ id: shape.id, type: 'image', props: { assetId: asset.id, crop: null, w, h } }])
    }),
  )
  const link = (url: string, point: VecLike | undefined) =>
    editor.putExternalContent({ type: 'text', text: url, html: anchor(url), ...(point && { point }) })
  editor.registerExternalContentHandler('url', ({ url, point }) => link(url, point))
  editor.registerExternalContentHandler('embed', ({ url, point }) => link(url, point))
}

async function placePictures(editor: Editor, notices: Notices, files: File[], at: VecLike | undefined): Promise<void> {
  if (files.length > FILES_AT_ONCE_MAX) {
    notices.failed(`At most ${FILES_AT_ONCE_MAX} pictures at once, please.`)
    return
  }
  const point = at ?? editor.getViewportPageBounds().center
  const done = notices.busy(files.length === 1 ? 'Uploading the picture…' : `Uploading ${files.length} pictures…`)
  const assets: TLAsset[] = []
  // One after the other: each may be as large as it gets, and their order on the board is that in which they were given.
  for (const file of files) {
    await reporting(notices, async () => {
      assets.push(await uploaded(editor, file))
    })
  }
  done()
  editor.markHistoryStoppingPoint('pictures')
  await createShapesForAssets(editor, assets, point)
}

async function uploaded(editor: Editor, file: File, wanted?: TLAssetId): Promise<TLAsset> {
  const picture = await pictureFrom(file)
  const id = wanted !== undefined && ASSET_ID.test(wanted) ? wanted : AssetRecordType.createId()
  const info = await getMediaAssetInfoPartial(picture, id, true, false).catch(() => {
    throw new NoPicture(`${file.name || 'This file'} cannot be read as a picture.`)
  })
  const { src } = await editor.uploadAsset(info, picture)
  return AssetRecordType.create({ ...info, props: { ...info.props, src } } as TLAsset)
}

async function reporting(notices: Notices, action: () => Promise<void>): Promise<void> {
  try {
    await action()
  } catch (error) {
    const known = error instanceof NoPicture || error instanceof UploadFailed
    notices.failed(known ? error.message : 'The picture could not be put on the board.')
  }
}

function bookmark(url: string): TLBookmarkAsset {
  return AssetRecordType.create({
    id: AssetRecordType.createId(),
    type: 'bookmark',
    props: { src: url, title: url, description: '', image: '', favicon: '' },
    meta: {},
  }) as TLBookmarkAsset
}

/** A link as HTML; what is no address of the web stays plain text. */
function anchor(url: string): string {
  const element = document.createElement(/^https?:/i.test(url) ? 'a' : 'span')
  element.textContent = url
  if (element instanceof HTMLAnchorElement) element.href = url
  return element.outerHTML
}
